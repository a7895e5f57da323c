"""The newcomer notices: whatever is not as a document says ends the walk, with its place and why."""

import pytest

from tests.docs import walk as walking
from tests.docs.walk import WalkError
from tests.documents.blocks import blocks

BEHIND = '<!-- run: in the background until "ready" -->\n'
INTERRUPT = "<!-- run: after Ctrl-C -->\n"
REPEAT = "<!-- run: until it is so -->\n"
GOOD = [
    ("sh", "", "test -f README.md && test -d .git\n"),
    ("console", "", "$ printf 'a\\nb\\n'\na\n…\n$ true\n"),
    ("sh", BEHIND, "echo ready; sleep 100\n"),
    ("sh", INTERRUPT, "true\n"),
    ("sh", REPEAT, "echo >>tries; test $(wc -l <tries) = 3\n"),
    ("sh", "<!-- not run: nobody could -->\n", "false\n"),
]
BAD = [
    ("sh", "", "true\nfalse\n", "exit code 1 of d.md:3:\ntrue\nfalse\n"),
    ("sh", "", "false | true\n", "exit code 1"),
    ("console", "", "$ echo a\nb\n", "printed:\na\ninstead of:\nb\n"),
    ("console", "", "$ echo a\n", "printed:\na\ninstead of:\n"),
    ("sh", BEHIND, "echo gone\n", "no 'ready' in:\ngone\n"),
    ("sh", INTERRUPT, "true\n", "what ran ended by itself with 0"),
    ("sh", INTERRUPT, "true\n", "nothing runs in the background"),
    ("sh", REPEAT, "false\n", "not so after"),
]


def block_of(language, marks, text):
    [block] = blocks("d.md", f"Text.\n\n{marks}```{language}\n{text}```\n")
    return block


@pytest.mark.timeout(120)
def test_what_is_not_as_shown_ends_the_walk(walk, monkeypatch):
    for good in GOOD:
        block = block_of(*good)
        if not block.why_not:
            walk.follow(block)
    monkeypatch.setattr(walking, "REPEAT_SECONDS", 0.5)
    for *bad, reason in BAD:
        with pytest.raises(WalkError) as ended:
            walk.follow(block_of(*bad))
        assert reason in str(ended.value)
        assert "d.md:" in str(ended.value)
