# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import base64
import json
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Container
from itertools import count
from pathlib import Path

import pytest
import urllib3
from kube_api import cuts, drips, refuses, resets, says, serving, silent, thing

from plugins.module_utils._kube.client import Client
from plugins.module_utils._kube.deadline import Deadline
from plugins.module_utils._kube.errors import ApiError
from plugins.module_utils._kube.transport import Transport

OK = says(thing())


@pytest.mark.parametrize(
    "fault",
    [
        refuses(429, "TooManyRequests", Retry_After="1"),
        refuses(429, "TooManyRequests"),
        refuses(429, Retry_After="Wed, 21 Oct 2015 07:28:00 GMT"),
        refuses(429, Retry_After="nonsense"),
        refuses(500, "InternalError", "etcdserver: leader changed"),
        says(b"<html>bad gateway</html>", 502),
        refuses(503, "ServiceUnavailable"),
        refuses(504, "Timeout"),
        refuses(408, "Timeout"),
        resets,
        cuts,
        says(b'{"kind": "Conf'),
        says(b"[]"),
        says(b"\xff\xfe"),
        says(b""),
        refuses(403, "Forbidden", 'pods "x" is forbidden: error looking up service account n/default: serviceaccount "default" not found'),
    ],
)
def test_a_passing_fault_passes(fault: object) -> None:
    with serving(fault, fault, OK) as api:  # type: ignore[arg-type]
        assert api.client().get("ConfigMap", "a", "n")["metadata"]["uid"] == "uid-a"  # type: ignore[index]
        assert len(api.requests) == 3


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (refuses(401, "Unauthorized"), "UNAUTHORIZED"),
        (refuses(403, "Forbidden", "no"), "FORBIDDEN"),
        (refuses(422, "Invalid", "spec.x: Invalid value"), "INVALID"),
        (refuses(400, "BadRequest", "no"), "INVALID"),
        (refuses(413, "RequestEntityTooLarge", "too big"), "INVALID"),
        (refuses(500, "", "failed to create typed patch object (n/a; /v1, Kind=ConfigMap): .data.a: expected string"), "INVALID"),
        (refuses(500, "", "etcdserver: request is too large"), "INVALID"),
        (says(b"404 page not found\n", 404), "KIND_NOT_FOUND"),
        (
            refuses(409, "Conflict", "Apply failed", [{"reason": "FieldManagerConflict", "field": ".a", "message": 'conflict with "x"'}]),
            "CONFLICT",
        ),
        (says(b"I'm a teapot", 418), "INVALID"),
        (says(b"", 302, Location="https://elsewhere.example/"), "REDIRECT"),
    ],
)
def test_a_lasting_fault_fails_at_once(fault: object, code: str) -> None:
    with serving(fault) as api:  # type: ignore[arg-type]
        with pytest.raises(ApiError) as caught:
            api.client().apply(thing())
        assert caught.value.code == code
        assert len(api.requests) == 1


def test_the_deadline_holds_against_busyness() -> None:
    with serving(refuses(429, "TooManyRequests", "slow down", Retry_After="60")) as api:
        started = time.monotonic()
        with pytest.raises(ApiError, match=r"slow down; tried 1 time in 1 s"):
            api.client(1).list("ConfigMap", "n")
        assert time.monotonic() - started < 1.5


@pytest.mark.parametrize("fault", [silent, drips])
def test_the_deadline_holds_against_silence(fault: object) -> None:
    with serving(fault) as api:  # type: ignore[arg-type]
        started = time.monotonic()
        with pytest.raises(ApiError, match="did not answer in time"):
            api.client(1).get("ConfigMap", "a", "n")
        assert time.monotonic() - started < 2.9


def test_connections_are_kept() -> None:
    with serving(OK) as api:
        client = api.client()
        for _turn in range(5):
            client.get("ConfigMap", "a", "n")
        pools = client._transport._pool.pools
        (pool,) = [pools[key] for key in pools.keys()]  # noqa: SIM118, no mapping
        assert pool.num_connections == 1
        assert pool.num_requests == 5


def test_a_cluster_that_never_answered_is_given_up_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plugins.module_utils._kube.client.FIRST_CONTACT", 0.3)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        client = Client(
            Transport(f"https://127.0.0.1:{unused.getsockname()[1]}", urllib3.PoolManager(retries=False), lambda: []), Deadline(60)
        )
        started = time.monotonic()
        with pytest.raises(ApiError, match=r"no connection to the API server: https://127\.0\.0\.1:.*Connection refused"):
            client.list("Pod")
    assert time.monotonic() - started < 2


def test_a_name_that_does_not_exist_fails_at_once() -> None:
    client = Client(Transport("https://nowhere.invalid", urllib3.PoolManager(retries=False), lambda: []), Deadline(60))
    with pytest.raises(ApiError, match="name can't be resolved") as caught:
        client.list("Pod")
    assert not caught.value.transient


def test_an_unusable_url_is_an_error() -> None:
    client = Client(Transport("https://[::1", urllib3.PoolManager(retries=False), lambda: []), Deadline(60))
    with pytest.raises(ApiError, match="URL is not valid"):
        client.list("Pod")


def test_credentials_are_renewed_once() -> None:
    with serving(refuses(401, "Unauthorized"), OK) as api:
        fresh = api.client()._transport
        client = api.client(renew=lambda _used: fresh)
        assert client.get("ConfigMap", "a", "n")
        assert client._transport is fresh
    with serving(refuses(401, "Unauthorized")) as api:
        fresh = api.client()._transport
        with pytest.raises(ApiError) as caught:
            api.client(renew=lambda _used: fresh).get("ConfigMap", "a", "n")
        assert caught.value.status == 401
        assert len(api.requests) == 2


def test_an_expired_token_is_named() -> None:
    payload = base64.urlsafe_b64encode(json.dumps({"exp": 1_600_000_000}).encode()).decode().rstrip("=")
    with serving(refuses(401, "Unauthorized", "Unauthorized")) as api:
        transport = Transport(api.url, urllib3.PoolManager(retries=False), lambda: [("authorization", f"Bearer x.{payload}.y")])
        with pytest.raises(ApiError, match="the token expired at 2020-09-13T12:26:40Z"):
            Client(transport, Deadline(5)).list("Pod")


def test_warnings_are_noted_once() -> None:
    warnings = r'299 - "unknown field \"spec.x\"", 299 - "second"'
    with serving(says(thing(), Warning=warnings)) as api:
        client = api.client()
        client.apply(thing())
        client.apply(thing())
        assert client.warnings == ['unknown field "spec.x"', "second"]


def test_a_created_object_whose_answer_was_lost_is_recognised() -> None:
    ours = thing(data={"a": "b"})
    with serving(resets, refuses(409, "AlreadyExists", "exists"), says({**ours, "metadata": {**ours["metadata"], "uid": "new"}})) as api:
        # what is empty is not kept
        manifest = {**ours, "metadata": {"name": "a", "namespace": "n", "annotations": {}}}
        assert api.client().create(manifest)["metadata"]["uid"] == "new"
    with (
        serving(resets, refuses(409, "AlreadyExists", "exists"), says(thing(data={"a": "theirs"}))) as api,
        pytest.raises(ApiError) as caught,
    ):
        api.client().create({**ours, "metadata": {"name": "a", "namespace": "n"}})
    assert caught.value.code == "ALREADY_EXISTS"
    with serving(refuses(409, "AlreadyExists", "exists")) as api, pytest.raises(ApiError) as caught:
        api.client().create({**ours, "metadata": {"name": "a", "namespace": "n"}})
    assert caught.value.code == "ALREADY_EXISTS"


def test_a_deletion_aimed_at_an_older_object_is_done() -> None:
    successor = says({**thing(), "metadata": {**thing()["metadata"], "uid": "other"}})
    with serving(refuses(409, "Conflict", "Precondition failed: UID"), successor) as api:
        api.client().delete("ConfigMap", "a", "n", uid="uid-a")
    with serving(refuses(409, "Conflict", "modified"), OK) as api, pytest.raises(ApiError):
        api.client().delete("ConfigMap", "a", "n", uid="uid-a")


def test_a_list_has_pages_and_starts_again_when_they_are_gone() -> None:
    def page(name: str, more: str) -> object:
        return says({"metadata": {"resourceVersion": "7", "continue": more}, "items": [thing(name)]})

    gone = refuses(410, "Expired", "the provided continue parameter is too old")
    with serving(page("a", "next"), gone, page("a", "next"), page("b", "")) as api:  # type: ignore[arg-type]
        items, version = api.client().list("ConfigMap", "n", labels="x=y")
        assert [item["metadata"]["name"] for item in items] == ["a", "b"]
        assert version == "7"
        assert [request.query.get("continue") for request in api.requests] == [None, "next", None, "next"]
        assert all(request.query["labelSelector"] == "x=y" for request in api.requests)


@pytest.fixture
def pki(tmp_path: Path) -> Path:
    """A CA as many clusters have it, without keyUsage, and a certificate that it signed."""
    run = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    config = tmp_path / "openssl.cnf"
    config.write_text("[req]\ndistinguished_name=dn\n[dn]\n")
    old_ca = [
        "-subj",
        "/CN=old",
        "-keyout",
        "ca.key",
        "-out",
        "ca.crt",
        "-config",
        str(config),
        "-addext",
        "basicConstraints=critical,CA:TRUE",
    ]
    subprocess.run([*run, *old_ca], cwd=tmp_path, check=True, capture_output=True)
    leaf = ["-subj", "/CN=leaf", "-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=CA:FALSE"]
    issue = ["-CA", "ca.crt", "-CAkey", "ca.key", "-keyout", "leaf.key", "-out", "leaf.crt", "-config", str(config)]
    subprocess.run([*run, *leaf, *issue], cwd=tmp_path, check=True, capture_output=True)
    return tmp_path


DECODE_ERROR = bytes([21, 3, 3, 0, 2, 2, 50])  # a TLS record: alert, fatal


def _tls_server(pki: Path, certificate: str = "leaf", refused: Container[int] = ()) -> tuple[int, socket.socket]:
    """Serves one object; connections whose number is ``refused`` end with an alert."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pki / f"{certificate}.crt", pki / f"{certificate}.key")
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        for number in count():
            try:
                connection, _peer = listener.accept()
            except OSError:
                return
            try:
                if number in refused:
                    with connection:
                        connection.recv(65536)
                        connection.sendall(DECODE_ERROR)
                    continue
                with context.wrap_socket(connection, server_side=True) as tls:
                    tls.recv(65536)
                    body = json.dumps(thing()).encode()
                    tls.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
            except OSError:
                pass

    threading.Thread(target=serve, daemon=True).start()
    return listener.getsockname()[1], listener


def _connect(port: int, pki: Path, **options: object) -> Client:
    from plugins.module_utils._kube.connection import connect

    return connect({"host": f"https://127.0.0.1:{port}", "api_key": "t", "ca_cert": str(pki / "ca.crt"), "timeout": 5, **options})


def test_the_strict_trap_is_named_with_a_way_out_that_works(pki: Path) -> None:
    port, listener = _tls_server(pki)
    with listener:
        with pytest.raises(ApiError) as caught:
            _connect(port, pki, x509_strict=True).get("ConfigMap", "a", "n")
        assert caught.value.code == "STRICT_CERTIFICATE"
        assert "x509_strict: false" in caught.value.fix
        assert "key" in caught.value.why.lower()
        assert _connect(port, pki, x509_strict=False).get("ConfigMap", "a", "n")


def test_the_way_out_still_verifies(pki: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    port, listener = _tls_server(pki)
    other = tmp_path_factory.mktemp("other")
    (other / "ca.crt").write_bytes(Path(ssl.get_default_verify_paths().cafile or "/etc/ssl/certs/ca-certificates.crt").read_bytes())
    with listener:
        with pytest.raises(ApiError) as caught:
            _connect(port, other, x509_strict=False).get("ConfigMap", "a", "n")
        assert caught.value.code == "CERTIFICATE"
        assert not caught.value.transient
        assert _connect(port, other, validate_certs=False).get("ConfigMap", "a", "n")


def test_tls_that_fails_once_with_a_server_that_has_answered_is_tried_again(pki: Path) -> None:
    port, listener = _tls_server(pki, refused=(1, 2))
    with listener:
        client = _connect(port, pki, x509_strict=False)
        assert all(client.get("ConfigMap", "a", "n") for _turn in range(3))


def test_tls_that_fails_before_any_answer_is_final(pki: Path) -> None:
    port, listener = _tls_server(pki, refused=(0,))
    with listener, pytest.raises(ApiError, match="DECODE_ERROR") as caught:
        _connect(port, pki, x509_strict=False).get("ConfigMap", "a", "n")
    assert (caught.value.code, caught.value.transient) == ("TLS", False)


def test_something_that_speaks_no_tls_is_named() -> None:
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _peer = listener.accept()
        connection.recv(1000)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        connection.close()

    threading.Thread(target=serve, daemon=True).start()
    with listener:
        client = Client(
            Transport(f"https://127.0.0.1:{listener.getsockname()[1]}", urllib3.PoolManager(retries=False), lambda: []), Deadline(5)
        )
        with pytest.raises(ApiError, match="no TLS connection") as caught:
            client.list("Pod")
        assert caught.value.code == "TLS"
