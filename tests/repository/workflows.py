"""The workflows of the repository, read from their files; linters judge their syntax."""

from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
WORKFLOWS = ROOT / ".github" / "workflows"


def load(path):
    """Read a workflow; YAML 1.1 takes the word `on` for true."""
    read = yaml.safe_load(path.read_text())
    return {"on" if key is True else key: value for key, value in read.items()}


def words(value):
    """Return a list of words, of which one may stand alone."""
    return [value] if isinstance(value, str) else list(value or [])


def before(jobs, name):
    """Return the jobs that have ended well when a job begins: all that it needs, and theirs."""
    needs = words(jobs[name].get("needs"))
    return set(needs).union(*(before(jobs, one) for one in needs))
