"""Load the settings from environment variables.

`load` reports every problem at once, each with name, value and what was expected. No message
contains a secret. A blank secret or file is a problem and never means "none".
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from prixfixe.settings.rules import broken, idle
from prixfixe.settings.table import PREFIX, TABLE, Setting, Settings
from prixfixe.stores.registry import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Problem", "SettingsError", "load", "sources", "warnings"]

# Enough for any list of recipients; /dev/zero must not exhaust the memory.
_MAX_FILE_OCTETS = 1024 * 1024
_MAX_SHOWN = 100
_NOT_BLANK = "a value that is not blank, or the variable not to be set"
# Variables that Kubernetes sets in every pod of a namespace with a Service `smtp` or `smtp-…`, and
# Docker for a link of that name. `SMTP_PORT` is a setting, and its parser says what to do.
_SERVICE = re.compile(
    r"SMTP_(?:[A-Z0-9_]+_)?"
    r"(?:SERVICE_HOST|SERVICE_PORT(?:_[A-Z0-9_]+)?|PORT_\d+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)"
)
_SERVICE_URL = re.compile(r"(?:tcp|udp|sctp)://")


class Problem(NamedTuple):
    """One wrong setting: the variable, its value or "(hidden)", and what was expected."""

    name: str
    value: str
    expected: str

    def __str__(self) -> str:
        return f"{self.name}={self.value}: expected {self.expected}"


class SettingsError(ValueError):
    """The settings cannot be used; `problems` has all problems (exit code 2)."""

    TITLE = "settings that cannot be used:"

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems
        lines = [f"  {problem}" for problem in problems]
        super().__init__("\n".join([self.TITLE, *lines]))


class _FileError(ValueError):
    """The file that a `_FILE` variable names cannot be read."""


def _read_file(path: str) -> str:
    from prixfixe.runtime.watch import open_plain  # a start without `_FILE` does not need it

    with open_plain(path) as file:
        octets = file.read(_MAX_FILE_OCTETS + 1)
    if len(octets) > _MAX_FILE_OCTETS:
        msg = f"more than {_MAX_FILE_OCTETS} octets"
        raise ValueError(msg)
    return octets.decode()


def load(environ: Mapping[str, str], read_file: Callable[[str], str] = _read_file) -> Settings:
    """Read the settings from an environment.

    Args:
        environ: such as `os.environ`; only names that begin with `SMTP_` are read.
        read_file: returns the text of a `_FILE` variable's path, or raises OSError or ValueError.

    Raises:
        SettingsError: with every problem.

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
    problems += _unknown(environ)
    if problems:
        raise SettingsError(problems)
    return Settings(**values)


def _text(setting: Setting, environ: Mapping[str, str], read_file: Callable[[str], str]) -> str:
    """Return the text of a setting from its variable, its file or its default."""
    path = environ.get(f"{setting.env}_FILE")
    if path is None:
        text = environ.get(setting.env, setting.default)
        if setting.is_secret and setting.env in environ and not text.strip():
            raise ValueError(_NOT_BLANK)
        return text
    if setting.env in environ:
        msg = f"only one of it and {setting.env}"
        raise _FileError(msg)
    text = _file_text(path, read_file)
    if not text.strip():
        raise _FileError("a file that is not blank, or the variable not to be set")
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
    text = shown(text)
    return repr(text) if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]!r}..."


def _unknown(environ: Mapping[str, str]) -> list[Problem]:
    """Return a problem for every unknown `SMTP_` name; values are hidden: they may be secrets."""
    known = {name for setting in TABLE for name in (setting.env, f"{setting.env}_FILE")}
    return [
        Problem(name, "(hidden)", f"a setting's name{_nearest(name, known)}")
        for name in sorted(environ.keys() - known)
        if name.startswith(PREFIX) and not _is_of_a_service(name, environ[name])
    ]


def _is_of_a_service(name: str, value: str) -> bool:
    is_url = name.endswith("_PORT") and _SERVICE_URL.match(value) is not None
    return is_url or _SERVICE.fullmatch(name) is not None


def _nearest(name: str, known: set[str]) -> str:
    import difflib  # only a mistake needs it

    close = difflib.get_close_matches(name.upper(), sorted(known), 1)
    return f"; did you mean {close[0]}?" if close else ""


def warnings(environ: Mapping[str, str], settings: Settings) -> list[str]:
    """Return a sentence for every changed setting that has no effect with the others."""
    attributes = {one.attribute: one.env for one in TABLE if _is_changed(one, environ)}
    return [f"{attributes[name]} has no effect: {why}" for name, why in idle(settings, attributes)]


def _is_changed(setting: Setting, environ: Mapping[str, str]) -> bool:
    default = setting.default
    return environ.get(setting.env, default) != default or bool(environ.get(f"{setting.env}_FILE"))


def sources(environ: Mapping[str, str], env_file: Mapping[str, str]) -> dict[str, str]:
    """Return the source of each setting's value: default, environment, or the path of a file.

    Args:
        environ: the variables that were read.
        env_file: the variables that came from a `.env` file, with the path of that file.

    """
    return {
        setting.env: env_file.get(setting.env, "environment")
        if setting.env in environ
        else environ.get(f"{setting.env}_FILE", "default")
        for setting in TABLE
    }
