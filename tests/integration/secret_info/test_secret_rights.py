"""Who may not watch polls; who may not list gets; who may not get is told the Role to apply; and a token that expires is renewed."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import urllib3
import yaml
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from plugins.module_utils._kube import wait
from plugins.module_utils._kube.client import Client
from plugins.module_utils._kube.connection import connect
from plugins.module_utils._kube.deadline import Deadline
from plugins.module_utils._kube.errors import ApiError
from tests.integration.kube.kube_proxy import Asked, Fault, Proxy
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
        with pytest.raises(ApiError, match=f"may not {missing} secrets in namespace {namespace}") as caught:
            work()
        assert time.monotonic() - started < 2
        assert caught.value.code == "FORBIDDEN"
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
    with pytest.raises(Exception, match="web-cacert: it does not exist"):
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
        f"user-of-{namespace} may not {missing} secrets in namespace {namespace}: looking every 2 s instead; grant the verb {missing}"
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


def test_a_token_that_expires_is_read_again_and_one_that_stays_expired_is_named(
    api: OwnApi, client: Client, namespace: str, tmp_path: Path
) -> None:
    """The API server's own 401s. Before the second LIST and the second write comes an expired token; its file then holds a good one."""
    allow(client, namespace, "runner", ["get", "list", "watch", "create", "update"], kind="ServiceAccount")
    good, old = (token(api, client, namespace, seconds) for seconds in (600, -300))
    file = tmp_path / "token"
    config = tmp_path / "config"
    anybody = urllib3.PoolManager(cert_reqs="REQUIRED", ca_certs=str(api.folder / "ca.crt"))
    state = {"until": 2}

    def rotate(asked: Asked) -> Fault | None:
        if asked.number >= state["until"]:
            file.write_text(good)
        return None

    for until, work in (
        (1, lambda one: info(one, named(namespace, "web"), wait=True, until="present")),
        (2, lambda one: deliver(one, wanted(namespace))),
    ):
        file.write_text(old)
        state["until"] = until
        proxy = Proxy(client._transport, rotate, anybody=anybody)
        config.write_text(json.dumps(kubeconfig({"server": proxy.url}, {"tokenFile": str(file)})))
        try:
            one = connect({"kubeconfig": str(config)}, deadline=Deadline(20))
            if until == 1:
                client.create(tls(namespace, "web", server()))
                assert work(one)[0]["found"]
                # The same for a wait that has begun: the watch's own 401.
            else:
                state["until"] = 10_000
                started = time.monotonic()
                with pytest.raises(ApiError, match="the token expired at") as caught:
                    work(one)
                assert (caught.value.code, caught.value.status) == ("UNAUTHORIZED", 401)
                assert time.monotonic() - started < 2
                assert [each["metadata"]["name"] for each in client.list("Secret", namespace)[0]] == ["web"]
                file.write_text(good)
                assert work(connect({"kubeconfig": str(config)}, deadline=Deadline(20))) == ["created"] * 3
        finally:
            proxy.close()
