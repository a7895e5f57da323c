"""Looking inside: the commands of the shell-less image, and the debug image, which adds a shell only."""

import pytest

from tests.container import engine
from tests.container.builder import BASE, ROOT, ensure_base
from tests.container.talk import body_of, deliver
from tests.container.tree import config_of, layers_of

pytestmark = pytest.mark.timeout(240)  # the first one builds


@pytest.fixture(scope="module")
def debug_image(image):
    """The id of the debug image, made of the image under test."""
    ensure_base(engine.client())
    made, _log = engine.client().images.build(
        path=str(ROOT / "docker"),
        dockerfile="debug.Dockerfile",
        buildargs={"IMAGE": image, "BASE_IMAGE": BASE},
        labels=engine.labels(),
        tag=engine.new_name(),
        rm=True,
    )
    return made.id


# --- without a shell


def test_check_v_tells_the_conversation(start):
    told = start().prixfixe("check", "-v")
    assert told.code == 0
    assert {line[:4] for line in told.output.splitlines()} == {"HTTP", "220 ", "250 ", "221 "}
    assert start({"SMTP_HTTP_PORT": "off"}).prixfixe("check", "-v").output.startswith("220 ")


def test_config_tells_what_is_in_force_and_where_it_came_from(start):
    told = start({"SMTP_DOMAIN": "mx.example.com"}).prixfixe("config")
    rows = {line.split()[0]: line.split()[1:] for line in told.output.splitlines()}
    assert told.code == 0
    assert rows["SMTP_DOMAIN"] == ["mx.example.com", "environment"]
    assert rows["SMTP_STORE"] == ["sqlite:/var/mail/prixfixe.db", "environment"]
    assert rows["SMTP_PORT"] == ["2525", "default"]


# --- with one


def test_it_has_a_shell_and_its_server_works(start, debug_image):
    box = start(image=debug_image)
    told = box.run("sh", "-c", "echo $((6 * 7)); id -u; ls /var/mail; ps -o pid,args | grep serve")
    assert told.code == 0
    lines = told.output.split("\n")
    assert lines[:2] == ["42", "1000"]
    assert "prixfixe.db" in lines
    assert " 1 {prixfixe} " in told.output
    with box.hello() as wire:
        sent = deliver(wire, body_of(500))
    assert [one.id for one in box.messages()] == [sent]


def test_it_is_the_image_but_for_what_is_added(image, debug_image):
    ours, theirs = config_of(image), config_of(debug_image)
    for config in (ours, theirs):
        config.pop("Image", None)  # what the last step of the build began with
    assert theirs.pop("Labels").items() >= ours.pop("Labels").items()
    assert theirs == ours


def test_nothing_is_replaced(image, debug_image):
    [below], [same, added] = layers_of(image), layers_of(debug_image)
    assert same.members.keys() == below.members.keys()
    new = {name for name, one in added.members.items() if not one.isdir()}
    assert {"usr/bin/busybox", "usr/bin/sh", "usr/bin/ps"} <= new
    assert not new & below.members.keys()
    assert all(name.startswith("usr/bin/") for name in new)
    for name in ("usr", "usr/bin"):
        before, after = below.members[name], added.members[name]
        assert (after.mode, after.uid, after.gid) == (before.mode, before.uid, before.gid)
