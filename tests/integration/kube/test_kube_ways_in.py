# SPDX-License-Identifier: GPL-3.0-or-later
"""Every way into a cluster that kubernetes.core has, against a real API server, which says whom it takes us for."""

from __future__ import annotations

import base64
import os
import select
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from kube_rig import config_map, connect, objects, who

from plugins.module_utils._errors import EdgeError
from plugins.module_utils._kube import simple
from plugins.module_utils._kube.client import Client
from plugins.module_utils._kube.errors import ApiError

pytestmark = pytest.mark.cluster


class Admin:
    """The administrator's kubeconfig, taken apart."""

    def __init__(self, path: Path, folder: Path) -> None:
        self.config = yaml.safe_load(path.read_text())
        context = next(each["context"] for each in self.config["contexts"] if each["name"] == self.config["current-context"])
        self.cluster = next(each["cluster"] for each in self.config["clusters"] if each["name"] == context["cluster"])
        self.user = next(each["user"] for each in self.config["users"] if each["name"] == context["user"])
        self.server = self.cluster["server"]
        self.ca = self._file(folder, "ca.crt", self.cluster, "certificate-authority")
        self.certificate = self._file(folder, "client.crt", self.user, "client-certificate")
        self.key = self._file(folder, "client.key", self.user, "client-key")

    @staticmethod
    def _file(folder: Path, name: str, holder: dict[str, Any], field: str) -> str:
        if field in holder:
            return str(holder[field])
        if f"{field}-data" not in holder:
            return ""
        path = folder / name
        path.write_bytes(base64.b64decode(holder[f"{field}-data"]))
        return str(path)

    def as_user(self, user: dict[str, Any], **cluster: Any) -> dict[str, Any]:
        """A kubeconfig for the same cluster."""
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "x",
            "clusters": [{"name": "x", "cluster": {**self.cluster, **cluster}}],
            "users": [{"name": "x", "user": user}],
            "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
        }


@pytest.fixture(autouse=True)
def _no_other_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("K8S_AUTH_", "KUBE")) or name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)


@pytest.fixture(params=["plain ones by ourselves", "all by the package"])
def reader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who reads kubeconfigs."""
    if request.param == "all by the package":
        monkeypatch.setattr(simple, "may_be", lambda _options: False)


@pytest.fixture
def admin(kubeconfig: Path, tmp_path: Path) -> Admin:
    found = Admin(kubeconfig, tmp_path)
    if not found.certificate:
        pytest.skip("needs a kubeconfig with a client certificate")
    return found


@pytest.fixture
def token(client: Client, namespace: str) -> str:
    """A service account's, with no rights."""
    client.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "robot", "namespace": namespace}})
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/robot/token"
    body = b'{"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 600}}'
    return str(client._call("POST", path, body=body, content_type="application/json", where="token")["status"]["token"])


@pytest.fixture
def robot(namespace: str) -> str:
    return f"system:serviceaccount:{namespace}:robot"


@pytest.mark.usefixtures("reader")
def test_client_certificates(kubeconfig: Path, admin: Admin) -> None:
    name = who(connect({"kubeconfig": str(kubeconfig)}))
    files = {"host": admin.server, "ca_cert": admin.ca, "client_cert": admin.certificate, "client_key": admin.key}
    by_path = {"client-certificate": admin.certificate, "client-key": admin.key}
    for options in (files, {"kubeconfig": admin.as_user(admin.user)}, {"kubeconfig": admin.as_user(by_path)}):
        assert who(connect(options)) == name


@pytest.mark.usefixtures("reader")
def test_a_token_by_option_dictionary_file_and_variable(
    admin: Admin, token: str, robot: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "token"
    file.write_text(token)
    config = tmp_path / "config"
    config.write_text(yaml.safe_dump(admin.as_user({"tokenFile": str(file)})))
    for options in (
        {"host": admin.server, "ca_cert": admin.ca, "api_key": token},
        {"kubeconfig": admin.as_user({"token": token})},
        {"kubeconfig": admin.as_user({"tokenFile": str(file)})},
        {"kubeconfig": str(config)},
        {"kubeconfig": config.read_text()},
    ):
        assert who(connect(options)) == robot
    monkeypatch.setenv("K8S_AUTH_HOST", admin.server)
    monkeypatch.setenv("K8S_AUTH_SSL_CA_CERT", admin.ca)
    monkeypatch.setenv("K8S_AUTH_API_KEY", token)
    assert who(connect({})) == robot


@pytest.mark.usefixtures("reader")
def test_a_rotated_token_file_is_read_again(admin: Admin, token: str, robot: str, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("not.a.token")
    client = connect({"kubeconfig": admin.as_user({"tokenFile": str(file)})})
    file.write_text(token + "\n")
    assert who(client) == robot


def test_exec_plugins_with_a_token_or_a_certificate(kubeconfig: Path, admin: Admin, token: str, robot: str, tmp_path: Path) -> None:
    script = tmp_path / "plugin.py"
    script.write_text(
        "import json, sys\n"
        "status = {'token': open(sys.argv[2]).read()} if sys.argv[1] == 'token' else"
        " {'clientCertificateData': open(sys.argv[2]).read(), 'clientKeyData': open(sys.argv[3]).read()}\n"
        "print(json.dumps({'apiVersion': 'client.authentication.k8s.io/v1', 'kind': 'ExecCredential', 'status': status}))\n"
    )
    (tmp_path / "token").write_text(token)

    def user(*arguments: str) -> dict[str, Any]:
        return {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": sys.executable, "args": [str(script), *arguments]}}

    assert who(connect({"kubeconfig": admin.as_user(user("token", str(tmp_path / "token")))})) == robot
    name = who(connect({"kubeconfig": str(kubeconfig)}))
    assert who(connect({"kubeconfig": admin.as_user(user("certificate", admin.certificate, admin.key))})) == name


def test_impersonation(kubeconfig: Path, client: Client, namespace: str) -> None:
    bob = connect({"kubeconfig": str(kubeconfig), "impersonate_user": "bob", "impersonate_groups": ["painters", "plumbers"]})
    assert who(bob) == "bob"
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "metadata": {"name": "plumbing", "namespace": namespace}}
    subject = {"kind": "Group", "name": "plumbers", "apiGroup": "rbac.authorization.k8s.io"}
    reference = {"kind": "Role", "name": "plumbing", "apiGroup": "rbac.authorization.k8s.io"}
    client.apply({**role, "kind": "Role", "rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list"]}]})
    client.apply({**role, "kind": "RoleBinding", "roleRef": reference, "subjects": [subject]})
    _eventually(lambda: bob.list("ConfigMap", namespace))
    with pytest.raises(ApiError, match="bob may not list secrets"):
        bob.list("Secret", namespace)


def test_a_pods_service_account(admin: Admin, token: str, robot: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import kubernetes.config.incluster_config as incluster

    file = tmp_path / "token"
    file.write_text(token)
    monkeypatch.setattr(incluster, "SERVICE_TOKEN_FILENAME", str(file))
    monkeypatch.setattr(incluster, "SERVICE_CERT_FILENAME", admin.ca)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", urlsplit(admin.server).hostname or "")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(urlsplit(admin.server).port or 443))
    assert who(connect({})) == robot


class Proxy:
    """An HTTP proxy that knows CONNECT and one password."""

    def __init__(self, password: str = "") -> None:
        self.wanted = f"Basic {base64.b64encode(password.encode()).decode()}" if password else ""
        self.served: list[str] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _peer = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, near: socket.socket) -> None:
        with near:
            head = b""
            while b"\r\n\r\n" not in head:
                head += near.recv(4096)
            lines = head.decode().split("\r\n")
            if self.wanted and f"Proxy-Authorization: {self.wanted}".lower() not in [line.lower() for line in lines]:
                near.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
                return
            target = lines[0].split()[1]
            self.served.append(target)
            host, _colon, port = target.rpartition(":")
            with socket.create_connection((host.strip("[]"), int(port))) as far:
                near.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                while True:
                    for ready in select.select([near, far], [], [])[0]:
                        data = ready.recv(65536)
                        if not data:
                            return
                        (far if ready is near else near).sendall(data)


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    made = Proxy("u:canary-p4")
    yield made
    made.close()


def test_a_proxy(kubeconfig: Path, admin: Admin, proxy: Proxy, namespace: str, monkeypatch: pytest.MonkeyPatch) -> None:
    host = urlsplit(admin.server).netloc
    through = {"kubeconfig": str(kubeconfig), "proxy": proxy.url, "proxy_headers": {"proxy_basic_auth": "u:canary-p4"}}
    assert objects(connect(through), [config_map("c", namespace)]).actions == ["created"]
    assert set(proxy.served) == {host}

    proxy.served.clear()
    assert who(connect({**through, "no_proxy": f"example.com,{urlsplit(admin.server).hostname}"}))
    assert proxy.served == []

    with pytest.raises(ApiError, match="the proxy does not let us through") as caught:
        connect({**through, "proxy_headers": {"proxy_basic_auth": "u:wrong-p4"}, "timeout": 10}).list("Pod", namespace)
    assert "p4" not in str(caught.value.as_result())
    assert not caught.value.transient

    monkeypatch.setenv("K8S_AUTH_PROXY", proxy.url)
    monkeypatch.setenv("K8S_AUTH_PROXY_HEADERS_PROXY_BASIC_AUTH", "u:canary-p4")
    assert who(connect({"kubeconfig": str(kubeconfig)}))
    assert proxy.served == [host]


def test_a_proxy_of_the_kubeconfig(admin: Admin) -> None:
    proxy = Proxy()
    assert who(connect({"kubeconfig": admin.as_user(admin.user, **{"proxy-url": proxy.url})}))
    assert len(proxy.served) == 1
    proxy.close()


def test_a_refused_token_fails_at_once(admin: Admin) -> None:
    started = time.monotonic()
    with pytest.raises(ApiError) as caught:
        connect({"host": admin.server, "ca_cert": admin.ca, "api_key": "nonsense"}).list("Pod", "default")
    assert caught.value.status == 401
    assert caught.value.fix == "Renew the credentials"
    assert time.monotonic() - started < 3


def test_the_role_that_a_refusal_offers_is_enough(admin: Admin, token: str, namespace: str, new_client: Any) -> None:
    options = {"host": admin.server, "ca_cert": admin.ca, "api_key": token, "timeout": 20}
    definitions = [config_map("c", namespace), config_map("d", namespace)]
    refused = objects(connect(options), definitions)
    assert refused.error is not None
    role = refused.error.as_result()["role"]
    assert f"subjects:\n  - {{kind: ServiceAccount, namespace: {namespace}, name: robot}}" in role
    assert objects(new_client(), role).error is None
    _eventually(lambda: connect(options).list("ConfigMap", namespace))
    assert objects(connect(options), definitions).actions == ["created", "created"]
    outcome = objects(connect(options), definitions)
    assert (outcome.actions, outcome.warnings) == (["unchanged", "unchanged"], [])


RBAC = Path(__file__).parents[3] / "docs/rbac"


def test_the_documented_roles_are_enough(admin: Admin, token: str, namespace: str, new_client: Any) -> None:
    """docs/rbac as they are, with the subject replaced as they ask for; kinds that this cluster lacks are no matter."""
    from plugins.module_utils._kube.node_port_info import Reach

    mine = [each for name in ("k8s_objects", "node_port_info") for each in yaml.safe_load((RBAC / f"{name}.yaml").read_text())["items"]]
    for each in mine:
        each["metadata"]["name"] += f"-{namespace}"
        if each["kind"].startswith("Cluster"):
            each["metadata"]["labels"] = {"edgemesh-test": "yes"}
        if "roleRef" in each:
            each["roleRef"]["name"] += f"-{namespace}"
            each["subjects"] = [{"kind": "ServiceAccount", "name": "robot", "namespace": namespace}]
    granted = objects(new_client(), mine, namespace=namespace)
    assert granted.error is None
    try:
        options = {"host": admin.server, "ca_cert": admin.ca, "api_key": token, "timeout": 20}
        service = {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "s", "namespace": namespace},
            "spec": {"ports": [{"port": 80}]},
        }
        definitions = [config_map("c", namespace), service]
        _eventually(lambda: connect(options).list("Node"))
        for actions in (["created"] * 2, ["unchanged"] * 2):
            outcome = objects(connect(options), definitions)
            assert (outcome.error, outcome.actions, outcome.warnings) == (None, actions, [])
        asked = {
            "services": [{"namespace": namespace, "name": "s", "ports": ["80"]}],
            "wait": False,
            "wait_for": [],
            "address_types": ["InternalIP"],
        }
        client = connect(options)
        assert Reach(asked, check=False).look(client)[0]["ports"]["80"]["port"] == 80
        assert client.warnings == []
        assert objects(connect(options), definitions, state="absent").actions == ["deleted"] * 2
    finally:
        assert objects(new_client(), [each for each in mine if each["kind"].startswith("Cluster")], state="absent").error is None


def _eventually(work: Any, seconds: float = 15) -> None:
    """RBAC takes effect a moment after it is written."""
    end = time.monotonic() + seconds
    while True:
        try:
            work()
            return
        except EdgeError:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)
