import re

import pytest

from prixfixe.smtp import replies
from prixfixe.smtp.replies import Reply

ALL = {name: value for name, value in vars(replies).items() if isinstance(value, Reply)}


@pytest.mark.parametrize("reply", ALL.values(), ids=ALL)
def test_reply_is_well_formed(reply):
    line = reply.wire.decode("ascii")
    assert line.endswith("\r\n")
    assert len(line) <= 512
    match = re.fullmatch(r"(\d)\d\d (?:(\d)\.\d{1,3}\.\d{1,3} )?[ -~]+\r\n", line)
    assert match is not None
    assert match.group(2) in (None, match.group(1))


def test_only_greeting_and_continuations_lack_an_enhanced_code():
    bare = {reply.code for reply in ALL.values() if not re.match(rb"\d{3} \d\.", reply.wire)}
    assert bare == {354}


def test_repr_shows_the_line():
    assert "221 2.0.0" in repr(replies.BYE)
