"""The settings of the server: the table, and what is derived from it."""

from prixfixe.settings.loading import Problem, SettingsError, load, sources, warnings
from prixfixe.settings.showing import example, plain, show
from prixfixe.settings.table import PREFIX, TABLE, Setting, Settings

__all__ = [
    "PREFIX",
    "TABLE",
    "Problem",
    "Setting",
    "Settings",
    "SettingsError",
    "example",
    "load",
    "plain",
    "show",
    "sources",
    "warnings",
]
