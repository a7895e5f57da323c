"""PF-IMG: the image as it lies there; no container is started."""

from __future__ import annotations

import datetime as dt
import functools
import re
from typing import TYPE_CHECKING, Any

from prixfixe.verify import tree as trees
from prixfixe.verify.cases import Case
from prixfixe.verify.dialogue.servers import NotOfferedError, UnseenError
from prixfixe.verify.groups import contents
from prixfixe.verify.groups.common import expect, layers_of, need_image, none_of, tree_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from prixfixe.verify.bench import Bench

__all__ = ["cases"]

_SHELL = re.compile(r"(^|/)(ba|da|z|k|c|a)?sh$|(^|/)busybox$")
_LEFT = re.compile(
    r"(^|/)\.(git|hg|svn)(/|$)|(^|/)(var/lib/apt/lists/.+_(Packages|Sources|InRelease|Release).*|var/cache/apt/.+\.bin|"
    r"[^/]+\.deb|\.env|\.netrc|id_(rsa|ed25519|ecdsa))$|(^|/)root/\.cache/"
)
# Keys that packages carry as samples and for tests.
_DPKG = re.compile(r"var/lib/dpkg/(status$|status\.d/[^/]+(?<!\.md5sums)$)")
_SAMPLES = re.compile(r"^etc/ssl/private/ssl-cert-snakeoil\.key$")
_LIBRARIES = ("usr/share/", "usr/lib/", "usr/local/lib/", "var/lib/dpkg/")
_SECONDS = 1_000_000_000


def cases() -> Iterator[Case]:
    """Return the cases of the group."""
    for number, (check, title, severity, source, evidence) in enumerate(
        (*_TABLE, *contents.TABLE), 1
    ):
        name = f"PF-IMG-{number:02}"
        yield Case(
            name, title, severity, source, evidence, _of_an_image(check), "static", track="image"
        )


def _of_an_image(check: Callable[[Bench], None]) -> Callable[[Bench], None]:
    @functools.wraps(check)
    def checked(bench: Bench) -> None:
        need_image(bench)
        check(bench)

    return checked


def _config(bench: Bench) -> dict[str, Any]:
    found: dict[str, Any] = bench.source.config  # type: ignore[attr-defined] # of an image
    return found


def _user(bench: Bench) -> None:
    wanted = bench.promised("image", "user")
    user = str(_config(bench).get("User") or "")
    name = user.partition(":")[0]
    if wanted == "any":
        raise NotOfferedError("the contract lets it be any user (image.user)")
    expect(name not in ("", "0", "root"), f"USER is {user!r}, which is root")
    expect(wanted == "nonroot" or name.isdigit(), f"USER is {user!r}, which is no number")


def _size(bench: Bench) -> None:
    most = bench.promised("image", "max_size")
    size = tree_of(bench).octets()
    expect(size <= most, f"its files have {size} bytes, not at most {most}")


def _setuid(bench: Bench) -> None:
    if bench.promised("image", "setuid"):
        raise NotOfferedError("the contract lets files gain rights (image.setuid)")
    none_of(trees.gaining_rights(tree_of(bench)), "files that gain rights")


def _keys(bench: Bench) -> None:
    found = [
        one for one in trees.private_keys(layers_of(bench), _LIBRARIES) if not _SAMPLES.search(one)
    ]
    none_of(found, "private keys in its layers")


def _secrets(bench: Bench) -> None:
    config = _config(bench)
    history = [str(row["CreatedBy"]) for row in bench.source.image.history()]  # type: ignore[attr-defined]
    labels = [f"{name}={value}" for name, value in (config.get("Labels") or {}).items()]
    found = trees.named_secrets([*history, *(config.get("Env") or ()), *labels])
    none_of([re.sub(r"([=:]\s*).{2,}", r"\1…", one)[:80] for one in found], "secrets")


def _shell(bench: Bench) -> None:
    if bench.promised("image", "shell"):
        raise NotOfferedError("the contract lets it have a shell (image.shell)")
    names = [name for layer in layers_of(bench) for name in layer.members if _SHELL.search(name)]
    none_of(names, "shells")


def _health(bench: Bench) -> None:
    if not bench.promised("health", "docker"):
        raise NotOfferedError("the contract promises no health check (health.docker)")
    check = _config(bench).get("Healthcheck") or {}
    test = check.get("Test") or ["NONE"]
    expect(test[0] != "NONE", "it has no HEALTHCHECK")
    seconds = check.get("Timeout", 30 * _SECONDS) / _SECONDS
    expect(seconds <= 60, f"its HEALTHCHECK may take {seconds:g} s")
    words = " ".join(test[1:])
    is_idle = re.fullmatch(r"(/\S*/)?(true|:)|exit 0|/\S+ -c( pass)?", words.strip())
    expect(not is_idle, f"its HEALTHCHECK cannot fail: {words!r}")
    if not bench.contract.get("image", "shell", True):
        expect(test[0] == "CMD", f"its HEALTHCHECK needs a shell: {words!r}")


def _entrypoint(bench: Bench) -> None:
    config = _config(bench)
    words = [*(config.get("Entrypoint") or ()), *(config.get("Cmd") or ())]
    expect(words, "it has neither ENTRYPOINT nor CMD")
    is_shell = len(words) > 1 and re.search(r"(^|/)(ba|da|z|a)?sh$", words[0]) and words[1] == "-c"
    expect(not is_shell, f"a shell is PID 1, which passes no signal on: {words!r}")


def _stop_signal(bench: Bench) -> None:
    wanted = bench.promised("image", "stopsignal")
    named = _config(bench).get("StopSignal") or "SIGTERM"
    expect(named == wanted, f"STOPSIGNAL is {named}, not {wanted}")


def _ports(bench: Bench) -> None:
    wanted = sorted(bench.promised("image", "ports"))
    found = bench.source.exposed()  # type: ignore[attr-defined]
    expect(found == wanted, f"it exposes {found}, not {wanted}")


def _labels(bench: Bench) -> None:
    labels = _config(bench).get("Labels") or {}
    for name in bench.promised("image", "labels"):
        value = labels.get(name, "")
        expect(value not in ("", "unknown"), f"label {name} is {value!r}")
        if name.endswith(".created"):
            made = dt.datetime.fromisoformat(value)
            is_past = made.tzinfo is not None and made <= dt.datetime.now(dt.UTC)
            expect(is_past, f"label {name} is {value!r}, which is no time of the past")


def _volumes(bench: Bench) -> None:
    if bench.promised("image", "volumes"):
        raise NotOfferedError("the contract lets it have volumes (image.volumes)")
    none_of(list(_config(bench).get("Volumes") or ()), "volumes that get no name")


def _writable(bench: Bench) -> None:
    members = tree_of(bench).members
    found = [
        name
        for name in trees.writable_by_all(tree_of(bench))
        if not (members[name].isdir() and members[name].mode & 0o1000)
    ]
    none_of(found, "what anybody may write")


def _one_layer(bench: Bench) -> None:
    if not bench.promised("image", "one_layer"):
        raise NotOfferedError("the contract promises no single layer (image.one_layer)")
    none_of(trees.hidden_or_replaced(layers_of(bench)), "files that a layer hides or replaces")
    expect(len(layers_of(bench)) == 1, f"it has {len(layers_of(bench))} layers")


def _left_behind(bench: Bench) -> None:
    names = [name for layer in layers_of(bench) for name in layer.files() if _LEFT.search(name)]
    none_of(names, "what a build left behind")


def _version(bench: Bench) -> None:
    """Look for the label's version in the metadata of what is installed."""
    name = "org.opencontainers.image.version"
    if name not in bench.promised("image", "labels"):
        raise NotOfferedError("the contract promises no label of the version")
    version = (_config(bench).get("Labels") or {}).get(name, "")
    tree = tree_of(bench)
    records = [one for one in tree.files() if _DPKG.match(one)]
    packages = [one for one in tree.files() if one.endswith(".dist-info/METADATA")]
    if not records and not packages:
        raise UnseenError("the image has no records of what is installed")
    told = [one for one in packages if f"-{version}.dist-info/" in one]
    told += [one for one in records if f"\nVersion: {version}" in tree.text(one)]
    expect(told, f"nothing that is installed has the version {version!r}")


_TREE, _META = "the exported tree", "the image's configuration"
_TABLE: tuple[tuple[Callable[[Bench], None], str, str, str, str], ...] = (
    (_user, "The image names a user that is not root.", "must", "contract image.user", _META),
    (_size, "The files are within their budget.", "must", "contract image.max_size", _TREE),
    (_setuid, "No file gains rights when it is run.", "must", "contract image.setuid", _TREE),
    (_keys, "No layer carries a private key.", "must", "CWE-321", "every layer"),
    (_secrets, "History, environment and labels hold no secret.", "must", "CWE-526", _META),
    (_shell, "There is no shell.", "must", "contract image.shell", "every layer"),
    (_health, "The health check is bounded and can fail.", "must", "contract health.docker", _META),
    (_entrypoint, "PID 1 is the server, not a shell around it.", "should", "OCI image spec", _META),
    (_stop_signal, "The stop signal is the promised one.", "must", "image.stopsignal", _META),
    (_ports, "Exactly the promised ports are exposed.", "must", "contract image.ports", _META),
    (_labels, "The labels are there and say something.", "must", "contract image.labels", _META),
    (_volumes, "No volume without a name is made.", "must", "contract image.volumes", _META),
    (_writable, "Anybody may write nothing but sticky folders.", "should", "CWE-732", _TREE),
    (
        _one_layer,
        "No layer ships what another hides.",
        "must",
        "contract image.one_layer",
        "layers",
    ),
    (_left_behind, "The build left no cache, repository or login.", "should", "CWE-538", "layers"),
    (_version, "The label's version is what is installed.", "should", "OCI annotations", _TREE),
)
