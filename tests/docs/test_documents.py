"""Each document from its first command to its last, as a newcomer does."""

import sys

import pytest

from tests.documents.blocks import DOCUMENTS, blocks
from tests.support.script_runner import ROOT

FOUND = {name: blocks(name, (ROOT / name).read_text()) for name in DOCUMENTS}
WALKED = [name for name, found in FOUND.items() if any(not one.why_not for one in found)]


@pytest.mark.timeout(900)
@pytest.mark.parametrize("document", WALKED)
def test_every_command_does_what_the_document_says(walk, document):
    if any("--profile monitoring" in block.text for block in FOUND[document]):
        walk.replace_prometheus()
    for block in FOUND[document]:
        if block.why_not:
            sys.stderr.write(f"{block.where}: not run: {block.why_not}\n")
        else:
            sys.stderr.write(f"{block.where}: {block.text.splitlines()[0][:80]}\n")
            walk.follow(block)
