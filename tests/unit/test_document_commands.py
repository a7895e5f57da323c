"""The commands of the documents: each is run by `nox -s docs`, or says why not; how they are read."""

import re

import pytest

from tests.documents.blocks import DOCUMENTS, ROOT, blocks, inline_commands, is_printed

TEXTS = {name: (ROOT / name).read_text() for name in DOCUMENTS}
FOUND = {name: blocks(name, text) for name, text in TEXTS.items()}
QUICK = "deployment/QUICK-REFERENCE.md"
# What the two documents of a newcomer leave to others, by how the block begins.
LEFT_OUT = {
    "README.md": {
        "python3 -m venv .venv && .venv/bin/pip install --quiet 'nox[uv]'",
        "import smtplib\n\ndef test_welcome(prixfixe, inbox):",
        "docker run --rm -p 127.0.0.1:2525:2525 -p 127.0.0.1:8025:8025 prixfixe",
    },
    "DEPLOYMENT.md": {
        "scripts/compose.sh --profile monitoring up --detach --wait grafana",
        "deployment/consume.py --query",
        "helm install mail deployment/helm/prixfixe",
        "scripts/compose.sh -f docker-compose.cluster.yml up --wait",
    },
}


@pytest.mark.parametrize("document", LEFT_OUT)
def test_a_newcomer_s_commands_are_run_but_for_these(document):
    left = [one.text for one in FOUND[document] if one.why_not]
    for beginning in LEFT_OUT[document]:
        assert any(text.startswith(beginning) for text in left), beginning
    assert len(left) == len(LEFT_OUT[document]), f"not run: {left}"
    assert len(FOUND[document]) > 3 * len(left)


@pytest.mark.parametrize("document", sorted(FOUND.keys() - LEFT_OUT))
def test_elsewhere_commands_of_other_hosts_and_of_hours_say_why_they_are_not_run(document):
    for block in FOUND[document]:
        assert block.why_not, f"{block.where}: put <!-- not run: REASON --> above it"


def test_a_reason_is_more_than_a_word():
    reasons = [block.why_not for found in FOUND.values() for block in found if block.why_not]
    assert [one for one in reasons if len(one.split()) < 4] == []


@pytest.mark.parametrize("document", LEFT_OUT)
def test_a_command_in_a_sentence_is_also_one_of_a_block(document):
    run = " ".join(one.text for one in FOUND[document])
    missing = {one for one in inline_commands(TEXTS[document]) if one not in run}
    assert missing <= {"nox -s docs", "docker compose"}  # what runs them, and what has no argument


def test_the_quick_reference_has_commands_that_are_run_elsewhere():
    """Each is a whole line, or the beginning of one, of what `nox -s docs` runs."""
    run = [
        line.strip()
        for name in LEFT_OUT
        for block in FOUND[name]
        if not block.why_not
        for step in block.steps
        for line in step.command.splitlines()
    ]
    rows = re.findall(r"^\| [^|]+ \| (`.+`) \|$", TEXTS[QUICK], re.MULTILINE)
    shown = [one for row in rows for one in re.findall(r"`([^`]+)`", row)]
    assert len(shown) > 15
    assert [one for one in shown if not any(f"{line} ".startswith(f"{one} ") for line in run)] == []


# --- how blocks are read

BLOCK = "Text.\n\n{marks}```{language}\n{text}```\n"


def read(text, language="sh", marks=""):
    [block] = blocks("d.md", BLOCK.format(marks=marks, language=language, text=text))
    return block


def test_a_block_is_run_unless_it_says_why_not():
    assert read("true\n").why_not == ""
    assert read("true\n", marks="<!-- not run: no host -->\n").why_not == "no host"
    assert blocks("d.md", BLOCK.format(marks="", language="sqlite", text="x\n")) == []


def test_it_has_a_place():
    assert read("true\n", marks="<!-- serve -->\n").where == "d.md:4"


def test_ways_to_run():
    behind = '<!-- run: in the background until "ready now" -->\n<!-- serve -->\n'
    assert read("serve\n", marks=behind).ready == "ready now"
    assert read("x\n", marks="<!-- run: after Ctrl-C -->\n").is_after_interrupt
    assert read("x\n", marks="<!-- run: until it is so -->\n").is_repeated


@pytest.mark.parametrize("said", ["run: later", "not run", "not run: ", "in the background"])
def test_a_marker_that_is_none_is_an_error(said):
    with pytest.raises(ValueError, match=r"^d\.md:4: "):
        read("x\n", marks=f"<!-- {said} -->\n")


def test_a_console_block_is_commands_with_what_they_print():
    text = "$ one \\\n  --more\nout\n$ two\n$ three\na\nb\n"
    assert read(text, "console").steps == [
        ("one \\\n  --more\n", "out\n"),
        ("two\n", ""),
        ("three\n", "a\nb\n"),
    ]
    assert read("a\nb\n").steps == [("a\nb\n", None)]
    with pytest.raises(ValueError, match="begins with"):
        read("output\n", "console").steps


@pytest.mark.parametrize(
    ("expected", "actual", "is_so"),
    [
        ("", "", True),
        ("a\n", "a", True),
        ("a\n", "a  \n", True),
        ("", "a\n", False),
        ("a\n", "", False),
        ("a\n", "a\nb\n", False),
        ("a…z\n", "abcz\n", True),
        ("a…z\n", "ab\nz\n", False),
        ("a\n…\nz\n", "a\nz\n", True),
        ("a\n…\nz\n", "a\nb\nc\nz\n", True),
        ("a\n…\nz\n", "a\nb\n", False),
        ("a.c\n", "abc\n", False),
    ],
)
def test_output(expected, actual, is_so):
    assert is_printed(expected, actual) is is_so


def test_commands_in_sentences():
    text = "Run `docker ps --all`, `X=1 prixfixe check`, not `docker` or `GET /x`.\n```sh\n`nox -s x`\n```\n"
    assert inline_commands(text) == ["docker ps --all", "X=1 prixfixe check"]
