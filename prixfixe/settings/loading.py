"""From an environment to settings, or to everything that is wrong with it.

Owns: `_FILE` variants, the errors of a bad start, warnings, and where each value came from.
Promises: `load` reports every problem at once, each with name, value and what was expected; a
secret's value is in no message; a secret never becomes "none" because its file is empty.
Refuses: files other than those a `_FILE` variable names, and more of those than 1 MiB.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from prixfixe.settings.rules import broken
from prixfixe.settings.table import PREFIX, TABLE, Setting, Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Problem", "SettingsError", "load", "sources", "warnings"]

# More than the longest list of recipients anyone keeps here; /dev/zero must not end a start.
_MAX_FILE_OCTETS = 1024 * 1024
_MAX_SHOWN = 100


class Problem(NamedTuple):
    """One thing wrong: the variable, its value as it may be shown, and what was expected."""

    name: str
    value: str
    expected: str

    def __str__(self) -> str:
        return f"{self.name}={self.value}: expected {self.expected}"


class SettingsError(ValueError):
    """The settings cannot be used; `problems` lists everything that is wrong (exit 2)."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems
        lines = [f"  {problem}" for problem in problems]
        super().__init__("\n".join(["settings that cannot be used:", *lines]))


class _FileError(ValueError):
    """The text of a setting cannot be had from the file its `_FILE` variable names."""


def _read_file(path: str) -> str:
    from prixfixe.reloading import open_plain  # a start without `_FILE` does not need it

    with open_plain(path) as file:
        octets = file.read(_MAX_FILE_OCTETS + 1)
    if len(octets) > _MAX_FILE_OCTETS:
        msg = f"more than {_MAX_FILE_OCTETS} octets"
        raise ValueError(msg)
    return octets.decode()


def load(environ: Mapping[str, str], read_file: Callable[[str], str] = _read_file) -> Settings:
    """Read the settings from an environment.

    Args:
        environ: such as `os.environ`; nothing else of it is read than the table's names.
        read_file: gives the text of a `_FILE` variable's path, or raises OSError or ValueError.

    Raises:
        SettingsError: with every problem there is.

    """
    problems: list[Problem] = []
    values: dict[str, Any] = {}
    for setting in TABLE:
        text = ""
        try:
            text = _text(setting, environ, read_file)
            values[setting.attribute] = setting.parse(text)
        except _FileError as error:
            path = environ[f"{setting.env}_FILE"]
            problems.append(Problem(f"{setting.env}_FILE", repr(path), str(error)))
        except ValueError as error:
            problems.append(Problem(setting.env, _shown(setting, text), str(error)))
    problems += [
        Problem(f"{PREFIX}{attribute.upper()}", repr(str(value)), expected)
        for attribute, value, expected in broken(values)
    ]
    if problems:
        raise SettingsError(problems)
    return Settings(**values)


def _text(setting: Setting, environ: Mapping[str, str], read_file: Callable[[str], str]) -> str:
    """Return a setting's text from the variable, its file, or the default."""
    path = environ.get(f"{setting.env}_FILE")
    if path is None:
        return environ.get(setting.env, setting.default)
    if setting.env in environ:
        msg = f"only one of it and {setting.env}"
        raise _FileError(msg)
    text = _file_text(path, read_file)
    if setting.is_secret and not text:
        raise _FileError("a file that is not empty")
    return text


def _file_text(path: str, read_file: Callable[[str], str]) -> str:
    try:
        return read_file(path).removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        reason = "not UTF-8 text"
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
    msg = f"a file that can be read ({reason})"
    raise _FileError(msg)


def _shown(setting: Setting, text: str) -> str:
    if setting.is_secret and text:
        return "(hidden)"
    return repr(text) if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]!r}..."


def warnings(environ: Mapping[str, str]) -> list[str]:
    """Return a sentence for every `SMTP_*` variable that has no effect."""
    known = {name for setting in TABLE for name in (setting.env, f"{setting.env}_FILE")}
    unknown = sorted(name for name in environ if name.startswith(PREFIX) and name not in known)
    found = [f"{name} is not a setting{_nearest(name, known)}" for name in unknown]
    names = environ.keys() & {"SMTP_AUTH_USERS", "SMTP_AUTH_USERS_FILE"}
    if any(map(environ.get, names)) and not environ.keys() & {"SMTP_AUTH", "SMTP_AUTH_FILE"}:
        found.append("SMTP_AUTH_USERS has no effect; did you mean to set SMTP_AUTH=required too?")
    return found


def _nearest(name: str, known: set[str]) -> str:
    import difflib  # only a mistake needs it

    close = difflib.get_close_matches(name, sorted(known), 1)
    return f"; did you mean {close[0]}?" if close else ""


def sources(environ: Mapping[str, str]) -> dict[str, str]:
    """Return where each setting's value came from: default, environment, or a file's path."""
    return {
        setting.env: "environment"
        if setting.env in environ
        else environ.get(f"{setting.env}_FILE", "default")
        for setting in TABLE
    }
