"""Pods of the manifests, translated to containers: they start, are replaced under load, lose nothing.

No cluster is here. The test plays the kubelet (see `pod`) and the controller's order of steps.
"""

import base64
import ssl
import threading
import time

import pytest
import trustme
import yaml
from docker.errors import DockerException

from prixfixe.auth.hashes import hash_password
from tests.container.builder import ROOT
from tests.container.pod import Kubelet, SecretFolder, options
from tests.container.talk import Crowd
from tests.container.waiting import eventually
from tests.kubernetes.rendering import render

PLAIN = ROOT / "deployment" / "kubernetes" / "sqlite"
CLIENTS = 4
PACE_SECONDS = 0.05  # between two messages of a client: all of them are read back
BEFORE, AFTER = 60, 60  # messages that are stored before and after a pod is replaced


def plain():
    """Return the pod's spec and the settings of the plain manifests."""
    workload = yaml.safe_load((PLAIN / "statefulset.yaml").read_text())
    lines = (PLAIN / "settings.env").read_text().splitlines()
    settings = dict(line.split("=", 1) for line in lines if not line.startswith("#"))
    return workload["spec"]["template"]["spec"], settings


class Persistent(Crowd):
    """Clients that come back when their server is gone."""

    def _client(self):
        while not self._is_over.is_set():
            super()._client()


class Place:
    """What a Service is for clients: the pod that is there now, if one is."""

    def __init__(self):
        self.box = None

    def connect(self):
        box = self.box
        if box is None:
            time.sleep(0.05)  # a client's own pause before it tries again
            raise ConnectionRefusedError
        try:
            return box.hello()
        except (AssertionError, DockerException) as gone:  # it says 421, or is removed
            raise ConnectionRefusedError from gone


def test_a_pod_is_replaced_under_load_and_nothing_is_lost(start_box, volume):
    pod, settings = plain()
    place = Place()
    is_busy = threading.Event()

    def told(count):
        if count >= BEFORE:
            is_busy.set()
        time.sleep(PACE_SECONDS)

    def started():
        box = start_box(settings, **options(pod, {}, volume=volume))
        kubelet = Kubelet(pod, box)
        kubelet.await_ready()
        place.box = box
        return kubelet

    first = started()
    assert first.box.container.attrs["HostConfig"]["ReadonlyRootfs"]
    with Persistent(place.connect, CLIENTS, enough=told) as crowd:
        assert is_busy.wait(60)
        assert first.end() == 0  # a StatefulSet of one: the old pod ends first
        place.box = None
        stored = len(crowd.ledger.acknowledged)
        first.box.remove()
        second = started()
        eventually(lambda: len(crowd.ledger.acknowledged) >= stored + AFTER, 60, "mail again")
    ledger = crowd.join()
    assert [one for one in crowd.errors if "[421]" not in one] == []  # told to come back
    ledger.settle(second.box.messages())


def issued(authority):
    pair = authority.issue_cert("mx.example.com", "127.0.0.1", key_type=trustme.KeyType.RSA)
    chain = b"".join(one.bytes() for one in pair.cert_chain_pems)
    return {"tls.crt": chain, "tls.key": pair.private_key_pem.bytes()}


def test_secrets_are_read_and_renewed_as_the_kubelet_lays_them(start_box, tmp_path, volume):
    made = render(
        {
            "tls": {"existingSecret": "mx", "required": True, "implicit": True},
            "auth": {"mode": "required", "existingSecret": "people"},
            "http": {"token": {"existingSecret": "api"}},
        }
    )
    authority = trustme.CA()
    tls, secrets = SecretFolder(tmp_path / "tls"), SecretFolder(tmp_path / "secrets")
    first = issued(authority)
    tls.put(first)
    users = f"alice:{hash_password('wonderland')}\n".encode()
    secrets.put({"users": users, "token": b"s3cret\n"})
    folders = {"tls": tls.folder, "secrets": secrets.folder}
    box = start_box(made.environ, **options(made.pod, folders, volume=volume))
    Kubelet(made.pod, box).await_ready()
    assert box.http("/api/v1/messages").status == 401
    assert box.http("/api/v1/messages", Authorization="Bearer s3cret").status == 200
    assert served(box) == first["tls.crt"]
    second = issued(authority)
    tls.put(second)
    eventually(lambda: served(box) == second["tls.crt"], 30, "the new certificate")
    login(box, authority, b"alice", b"wonderland")
    users = f"bob:{hash_password('builder')}\n".encode()
    secrets.put({"users": users, "token": b"s3cret\n"})
    box.logged("reloaded", 2)
    login(box, authority, b"bob", b"builder")


def served(box):
    return ssl.get_server_certificate(box.address(4650), timeout=30).encode()


def login(box, authority, user, password):
    context = ssl.create_default_context()
    authority.configure_trust(context)
    with box.hello() as wire:
        assert wire.ask(b"STARTTLS\r\n") == [220]
        wire.start_tls(context, "mx.example.com")
        assert wire.ask(b"EHLO client.test\r\n") == [250]
        word = base64.b64encode(b"\0" + user + b"\0" + password)
        assert wire.ask(b"AUTH PLAIN " + word + b"\r\n") == [235]


def test_a_field_that_the_translation_does_not_know_fails():
    pod, _ = plain()
    for field in ("hostNetwork", "shareProcessNamespace"):
        with pytest.raises(AssertionError):
            options({**pod, field: True}, {}, volume=None)
    assert options(pod, {}, volume=None)["user"] == "1000:1000"
