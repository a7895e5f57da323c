"""Import every module under the folders given; say which do not, and why.

With --loaded, say instead which sources a serving process loads: what the package in the folder
imports, and what that asks for by name only.
"""

import contextlib
import importlib
import io
import pkgutil
import sys
import warnings

# The one module that ends the process, and those that act when imported, by design.
ACTS = ("__main__", "idlelib")
BY_NAME = (
    "_strptime",
    "anyio._backends._asyncio",
    "encodings.ascii",
    "encodings.idna",
    "encodings.latin_1",
)


def modules(folder: str) -> list[str]:
    """Return the names of a folder's modules, at any depth."""
    names, waiting = [], [("", folder)]
    while waiting:
        prefix, path = waiting.pop()
        for found in pkgutil.iter_modules([path], prefix):
            short = found.name.rpartition(".")[2]
            if short in ACTS:
                continue
            names.append(found.name)
            if found.ispkg:
                waiting.append((found.name + ".", f"{path}/{short}"))
    return names


def fault(name: str) -> str | None:
    """Return why a module does not import."""
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            importlib.import_module(name)
    except BaseException as error:  # noqa: BLE001 - whatever it is, the image must not carry it
        return f"{name}: {type(error).__name__}: {error}"
    return None


def without_search() -> str | None:
    """Return why SQLite has not what the search index is made with."""
    import sqlite3

    try:
        made = "CREATE VIRTUAL TABLE words USING fts5(x, content='', detail=none, tokenize=ascii)"
        sqlite3.connect(":memory:").execute(made)
        sqlite3.connect("file:/words?vfs=memdb", uri=True).execute(made)
    except sqlite3.Error as error:
        return f"SQLite {sqlite3.sqlite_version}: {error}"
    return None


def check(folders: list[str]) -> int:
    """Import all; return the exit code."""
    names = [name for folder in folders for name in modules(folder)]
    names += [name for name in modules(f"{folders[0]}/lib-dynload") if name not in names]
    faults = [line for name in names if (line := fault(name))]
    faults += [line for line in (without_search(),) if line]
    print(f"{len(names)} modules, {len(faults)} of which do not import", *faults, sep="\n")
    return bool(faults)


def loaded(folder: str) -> int:
    """Print the sources of all that is imported by the modules of a package's folder."""
    package = folder.rpartition("/")[2]
    names = [package, *(f"{package}.{name}" for name in modules(folder)), *BY_NAME]
    faults = [line for name in names if (line := fault(name))]
    faults += [line for line in (without_search(),) if line]
    files = {getattr(module, "__file__", None) or "" for module in list(sys.modules.values())}
    print(*faults, *sorted(file for file in files if file.endswith(".py")), sep="\n")
    return bool(faults)


warnings.simplefilter("ignore")
sys.exit(loaded(*sys.argv[2:]) if sys.argv[1] == "--loaded" else check(sys.argv[1:]))
