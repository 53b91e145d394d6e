# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may not watch polls; who may not list gets; who may not get is told the Role to apply; and a token that expires is renewed."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import urllib3
import yaml
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from plugins.module_utils._errors import EdgeError
from plugins.module_utils._kube import wait
from plugins.module_utils._kube.client import Client
from plugins.module_utils._kube.connection import connect
from plugins.module_utils._kube.deadline import Deadline
from plugins.module_utils._kube.errors import ApiError
from tests.integration.kube.kube_proxy import Asked, Fault, Proxy, refuse
from tests.integration.secret_info.material import deliver, info, named, server, tls, wanted
from tests.integration.secret_info.own_api import OwnApi, kubeconfig

pytestmark = pytest.mark.lab


def allow(client: Client, namespace: str, user: str, verbs: list[str], names: list[str] | None = None, kind: str = "User") -> None:
    rule: dict[str, Any] = {"apiGroups": [""], "resources": ["secrets"], "verbs": verbs, **({"resourceNames": names} if names else {})}
    metadata = {"name": f"test-{user}", "namespace": namespace}
    subject: dict[str, Any] = {"kind": kind, "name": user}
    subject |= {"apiGroup": "rbac.authorization.k8s.io"} if kind == "User" else {"namespace": namespace}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": f"test-{user}"}
    client.apply({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": metadata, "rules": [rule]})
    client.apply(
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": metadata, "roleRef": role, "subjects": [subject]}
    )


@pytest.fixture
def somebody(api: OwnApi, namespace: str, new_client: Callable[..., Client]) -> Callable[..., Client]:
    """A user of this test's own, without any right."""
    path = api.kubeconfig_of(f"user-of-{namespace}")
    return lambda seconds=30.0: new_client(seconds, path)


def test_without_get_it_fails_at_once_and_the_role_it_offers_is_enough(client: Client, namespace: str, somebody: Any) -> None:
    client.create(tls(namespace, "web", server()))
    for work, missing in (
        (lambda: info(somebody(), named(namespace, "web")), "get"),
        (lambda: info(somebody(), select=[{"namespace": namespace}]), "list"),
        (lambda: info(somebody(), named(namespace, "web"), named(namespace, "other"), wait=True, until="present"), "get"),
        (lambda: deliver(somebody(), wanted(namespace)), "get"),
    ):
        started = time.monotonic()
        with pytest.raises(EdgeError, match=f"may not {missing} secrets in namespace {namespace}") as refused:
            work()
        assert time.monotonic() - started < 2
        assert refused.value.code == "FORBIDDEN"
    with pytest.raises(ApiError) as caught:
        info(somebody(), named(namespace, "web"), wait=True)
    for manifest in yaml.safe_load_all(caught.value.as_result()["role"]):
        client.apply(manifest)
    granted = somebody()
    assert info(granted, named(namespace, "web"), wait=True)[0]["fit"]
    assert granted.warnings == []


def test_rights_to_the_names_are_enough_to_watch_them(client: Client, namespace: str, somebody: Any) -> None:
    names = ["web", "web-cacert"]
    allow(client, namespace, f"user-of-{namespace}", ["get", "list", "watch"], names)
    client.create(tls(namespace, "web", server()))
    watcher = somebody(3)
    with pytest.raises(Exception, match="web-cacert: timed out after 3 s of waiting until fit: it does not exist"):
        info(watcher, *(named(namespace, name) for name in names), wait=True)
    assert watcher.warnings == []


@pytest.mark.parametrize("verbs", [["get", "list"], ["get"]])
def test_without_watch_or_list_it_looks_now_and_then_and_says_so(verbs: list[str], client: Client, namespace: str, somebody: Any) -> None:
    allow(client, namespace, f"user-of-{namespace}", verbs)
    threading.Timer(0.5, lambda: client.create(tls(namespace, "web", server()))).start()
    poller = somebody(30)
    started = time.monotonic()
    assert info(poller, named(namespace, "web"), wait=True)[0]["fit"]
    assert time.monotonic() - started < wait.POLL + 2.5
    missing = "watch" if "list" in verbs else "list"
    assert poller.warnings == [
        f"user-of-{namespace} may not {missing} secrets in namespace {namespace}: polling every 2 s instead; grant the verb {missing}"
    ]


def token(api: OwnApi, client: Client, namespace: str, seconds: float) -> str:
    """A service account's token, signed as the API server itself does, which expires then (or has expired)."""
    account = client.get("ServiceAccount", "runner", namespace) or client.create(
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "runner", "namespace": namespace}}
    )
    now = int(time.time())
    claims = {
        "iss": "https://edgemesh.test",
        "sub": f"system:serviceaccount:{namespace}:runner",
        "aud": ["https://edgemesh.test"],
        "iat": now - 3600,
        "nbf": now - 3600,
        "exp": now + int(seconds),
        "kubernetes.io": {"namespace": namespace, "serviceaccount": {"name": "runner", "uid": account["metadata"]["uid"]}},
    }

    def encode(data: bytes) -> str:
        return base64.urlsafe_b64encode(data).decode().rstrip("=")

    signed = f"{encode(json.dumps({'alg': 'ES256', 'typ': 'JWT'}).encode())}.{encode(json.dumps(claims).encode())}"
    key = serialization.load_pem_private_key((api.folder / "service-account.key").read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    r, s = decode_dss_signature(key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
    return f"{signed}.{encode(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


class Runner:
    """A service account whose token is in a file, and the API server behind a proxy that leaves the token as it is."""

    def __init__(self, api: OwnApi, client: Client, namespace: str, folder: Path) -> None:
        allow(client, namespace, "runner", ["get", "list", "watch", "create", "update"], kind="ServiceAccount")
        self.good, self.expired = (token(api, client, namespace, seconds) for seconds in (600, -300))
        self.file, self._folder, self._admin = folder / "token", folder, client
        self._anybody = urllib3.PoolManager(cert_reqs="REQUIRED", ca_certs=str(api.folder / "ca.crt"))

    @contextmanager
    def client(self, first: str, plan: Callable[[Asked], Fault | None]) -> Iterator[Client]:
        """As a module has it that starts while the file holds ``first``."""
        self.file.write_text(first)
        proxy = Proxy(self._admin._transport, plan, anybody=self._anybody)
        config = self._folder / "config"
        config.write_text(json.dumps(kubeconfig({"server": proxy.url}, {"tokenFile": str(self.file)})))
        try:
            yield connect({"kubeconfig": str(config)}, deadline=Deadline(20))
        finally:
            proxy.close()

    def renewed(self, _asked: Asked) -> None:
        """A plan: from now on a good one is in the file."""
        self.file.write_text(self.good)


@pytest.fixture
def runner(api: OwnApi, client: Client, namespace: str, tmp_path: Path) -> Runner:
    return Runner(api, client, namespace, tmp_path)


def test_a_token_that_has_been_renewed_is_read_again(runner: Runner, client: Client, namespace: str) -> None:
    """After the API server's own 401 to the first request, of reading and of writing, and after a 401 to a watch."""
    with runner.client(runner.expired, runner.renewed) as one:
        assert deliver(one, wanted(namespace)) == ["created"] * 3
    with runner.client(runner.expired, runner.renewed) as one:
        assert info(one, named(namespace, "edge-shop"), wait=True)[0]["fit"]
    watches = []

    def expires(asked: Asked) -> Fault | None:
        if asked.verb != "watch":
            return None
        watches.append(asked)
        if len(watches) > 1:
            return None
        client.create(tls(namespace, "web", server()))
        return refuse(401, reason="Unauthorized", message="Unauthorized")

    with runner.client(runner.good, expires) as one:
        assert info(one, named(namespace, "web"), wait=True)[0]["fit"]


def test_a_token_that_stays_expired_is_named_at_once(runner: Runner, client: Client, namespace: str) -> None:
    for work in (lambda one: deliver(one, wanted(namespace)), lambda one: info(one, named(namespace, "web"), wait=True)):
        with runner.client(runner.expired, lambda _asked: None) as one:
            started = time.monotonic()
            with pytest.raises(ApiError, match="the token expired at") as caught:
                work(one)
            assert (caught.value.code, caught.value.status) == ("UNAUTHORIZED", 401)
            assert time.monotonic() - started < 2
    assert client.list("Secret", namespace)[0] == []
