# SPDX-License-Identifier: GPL-3.0-or-later
"""The seed's ladder for real: Istio's own ingress gateway on the lab, named by edge_probe and by the diagnosis of a real nginx."""

from __future__ import annotations

import base64
import contextlib
import json
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from probe_pki import CLIENT, Pair, issue
from probe_rig import Nginx
from probe_session import diagnose_nginx, probe

from lab import settings, vms
from lab.settings import Host
from plugins.module_utils._kube.client import Client
from plugins.module_utils._kube.connection import connect
from tests.ports import dead_port, free_port
from tests.spare_vms import spare

pytestmark = [pytest.mark.lab, pytest.mark.mesh]

ROOT = Path(__file__).parents[3]
NAMESPACE = "edgemesh-test-ladder"
OURS = f"{NAMESPACE}-"
GATEWAY = (settings.NODE_IP, settings.NODE_PORTS["https"])
SIMPLE, MUTUAL, OTHER, MISSING = (f"{name}.ladder.example" for name in ("simple", "mutual", "other", "missing"))


@dataclass(frozen=True)
class Ladder:
    """The folder with the certificates that clients use."""

    folder: Path

    def file(self, name: str) -> str:
        return str(self.folder / name)


def secret(name: str, **data: str) -> dict[str, Any]:
    encoded = {key.replace("_", "."): base64.b64encode(value.encode()).decode() for key, value in data.items()}
    kind = "kubernetes.io/tls" if "tls_crt" in data else "Opaque"
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": "istio-system"}, "type": kind, "data": encoded}


def objects(pki: dict[str, Pair]) -> list[dict[str, Any]]:
    """A Gateway with servers as users have them, and routes that the gateway itself answers."""

    def server(name: str, host: str, mode: str, credential: str) -> dict[str, Any]:
        tls = {
            "mode": mode,
            "credentialName": credential,
            **({"caCertCredentialName": f"{OURS}clients-cacert"} if mode == "MUTUAL" else {}),
        }
        return {"port": {"number": 443, "name": f"https-{name}", "protocol": "HTTPS"}, "tls": tls, "hosts": [host]}

    meta = {"name": "ladder", "namespace": NAMESPACE}
    gateway = {
        "apiVersion": "networking.istio.io/v1", "kind": "Gateway", "metadata": meta,
        "spec": {
            "selector": {"istio": "ingressgateway"},
            "servers": [
                server("simple", SIMPLE, "SIMPLE", f"{OURS}server"), server("mutual", MUTUAL, "MUTUAL", f"{OURS}server"),
                {"port": {"number": 80, "name": "http", "protocol": "HTTP"}, "hosts": [SIMPLE]},
                server("other", OTHER, "SIMPLE", f"{OURS}other"), server("missing", MISSING, "SIMPLE", f"{OURS}nowhere"),
            ],
        },
    }  # fmt: skip
    service = {
        "apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": meta,
        "spec": {
            "hosts": [SIMPLE, MUTUAL, OTHER, MISSING], "gateways": ["ladder"],
            "http": [{"match": [{"uri": {"prefix": "/"}}], "directResponse": {"status": 200, "body": {"string": "ladder"}}}],
        },
    }  # fmt: skip
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
        secret(f"{OURS}server", tls_crt=pki["server"].pem, tls_key=pki["server"].key_pem),
        secret(f"{OURS}other", tls_crt=pki["other"].pem, tls_key=pki["other"].key_pem),
        secret(f"{OURS}clients-cacert", ca_crt=pki["client-ca"].pem),
        gateway,
        service,
    ]


def remove(client: Client, made: list[dict[str, Any]]) -> None:
    for each in reversed(made):
        with contextlib.suppress(Exception):
            client.delete(each["kind"], each["metadata"]["name"], each["metadata"].get("namespace"), each["apiVersion"])


@pytest.fixture(scope="module")
def ladder(tmp_path_factory: pytest.TempPathFactory, kubeconfig: Path) -> Iterator[Ladder]:
    """The lab's gateway serves the hosts; waits by a probe until all of them answer as they should."""
    folder = tmp_path_factory.mktemp("ladder")
    pki = {name: issue(f"ladder-{name}", ca=True).write(folder, name) for name in ("ca", "wrong-ca", "client-ca")}
    pki["server"] = issue("ladder", pki["ca"], names=[SIMPLE, MUTUAL, MISSING])
    pki["other"] = issue("ladder", pki["ca"], names=["elsewhere.ladder.example"])
    issue("edge", pki["client-ca"], names=["edge.ladder.example"], usage=CLIENT).write(folder, "client")
    client = connect({"kubeconfig": str(kubeconfig)})
    made = objects(pki)
    try:
        for each in made:
            client.apply(each, force=True)
        paths = [
            {"name": host, "address": GATEWAY[0], "port": GATEWAY[1], "tls": {"sni": host, "rules": "none"}, "http": {}}
            for host in (SIMPLE, OTHER)
        ]
        refused = {"expect": {"refused": True, "codes": ["CLIENT_CERT_MISSING"]}}
        paths.append({**paths[0], "name": MUTUAL, "tls": {"sni": MUTUAL}, **refused})
        paths.append({"name": "port 80", "address": GATEWAY[0], "port": settings.NODE_PORTS["http2"], "http": {"host": SIMPLE}})
        seen = probe(paths, wait=60)
        assert all(each["ok"] for each in seen), [(each["name"], each["code"], each["observed"]) for each in seen]
        yield Ladder(folder)
    finally:
        remove(client, made)


def at(host: str, ladder: Ladder, **tls: Any) -> dict[str, Any]:
    return {"sni": host, "ca_file": ladder.file("ca.crt"), **tls}


def client_of(ladder: Ladder) -> dict[str, str]:
    return {"cert_file": ladder.file("client.crt"), "key_file": ladder.file("client.key")}


RUNGS: dict[str, tuple[Callable[[Ladder], dict[str, Any]], str, str]] = {
    "no SNI": (lambda ladder: {"tls": at("", ladder, verify_name=SIMPLE), "http": {"host": SIMPLE}}, "NO_SNI", "tls_handshake"),
    "HTTP/1.0": (lambda ladder: {"tls": at(SIMPLE, ladder), "http": {"version": "1.0"}}, "HTTP10_UPSTREAM", "http"),
    "no Host": (lambda ladder: {"tls": at(SIMPLE, ladder), "http": {"host": "198.18.0.1:30443"}}, "HOST_NOT_ROUTED", "http"),
    "wrong CA": (
        lambda ladder: {"tls": at(SIMPLE, ladder, ca_file=ladder.file("wrong-ca.crt")), "http": {}}, "WRONG_TRUST_ANCHOR", "tls_handshake",
    ),
    "wrong name": (lambda ladder: {"tls": at(OTHER, ladder), "http": {}}, "UPSTREAM_NAME_MISMATCH", "tls_handshake"),
    "MUTUAL, no certificate": (lambda ladder: {"tls": at(MUTUAL, ladder), "http": {}}, "CLIENT_CERT_MISSING", "tls_first_read"),
    "MUTUAL, foreign": (
        lambda ladder: {"tls": at(MUTUAL, ladder, client={"foreign": True}), "http": {}}, "CLIENT_CERT_UNTRUSTED", "tls_first_read",
    ),
    "unknown SNI": (lambda ladder: {"tls": at("nobody.ladder.example", ladder), "http": {}}, "WRONG_SNI", "tls_handshake"),
    "credential missing": (lambda ladder: {"tls": at(MISSING, ladder), "http": {}}, "WRONG_SNI", "tls_handshake"),
    "plain text": (lambda _ladder: {"http": {"host": SIMPLE}}, "PLAINTEXT_TO_TLS_PORT", "http"),
    "TLS to port 80": (
        lambda ladder: {"port": settings.NODE_PORTS["http2"], "tls": at(SIMPLE, ladder)}, "TLS_TO_PLAINTEXT_PORT", "tls_handshake",
    ),
    "wrong NodePort": (lambda ladder: {"port": dead_port(), "tls": at(SIMPLE, ladder)}, "CONNECTION_REFUSED", "tcp"),
    "PROXY header": (lambda ladder: {"proxy_protocol": "v1", "tls": at(SIMPLE, ladder)}, "PROXY_PROTOCOL_ONE_SIDED", "tls_handshake"),
}  # fmt: skip


@pytest.mark.parametrize("title", RUNGS)
def test_edge_probe_names_the_rung(ladder: Ladder, title: str) -> None:
    options, code, phase = RUNGS[title]
    (found,) = probe([{"name": title, "address": GATEWAY[0], "port": GATEWAY[1], **options(ladder)}])
    assert (found["code"], found["phase"], found["ok"]) == (code, phase, False), found


def test_edge_probe_names_nothing_on_healthy_paths(ladder: Ladder) -> None:
    here: dict[str, Any] = {"address": GATEWAY[0], "port": GATEWAY[1]}
    healthy: list[dict[str, Any]] = [
        {"tls": at(SIMPLE, ladder), "http": {}},
        {"tls": at(SIMPLE, ladder), "http": {}, "expect": {"body_contains": "ladder", "headers": {"server": "istio-envoy"}}},
        {"tls": at(SIMPLE, ladder, max_version="1.2"), "http": {}},
        {"tls": at(SIMPLE, ladder, min_version="1.3"), "http": {}},
        {"tls": at(SIMPLE, ladder), "http": {"method": "HEAD"}},
        {"tls": at(SIMPLE, ladder), "http": {"path": "/a/b?c=d"}, "consecutive": 5},
        {"tls": at(SIMPLE, ladder, alpn=["h2"]), "http": {"version": "2"}},
        {"tls": at(SIMPLE, ladder, rules="envoy"), "http": {}},
        {"tls": at(SIMPLE, ladder)},
        {"tls": at(MUTUAL, ladder, client=client_of(ladder)), "http": {}, "expect": {"certificate_requested": True}},
        {"tls": at(MUTUAL, ladder, client=client_of(ladder), max_version="1.2"), "http": {}},
        {"tls": at(MUTUAL, ladder), "expect": {"refused": True, "codes": ["CLIENT_CERT_MISSING"]}},
        {"tls": at(OTHER, ladder, verify_name="elsewhere.ladder.example"), "http": {}},
    ]
    found = probe([{"name": str(number), **here, **each} for number, each in enumerate(healthy)])
    assert [(each["name"], each["code"], each["observed"]) for each in found if not each["ok"]] == []


GOOD = """
    proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host;
    proxy_ssl_server_name on; proxy_ssl_name {host};
    proxy_ssl_verify on; proxy_ssl_trusted_certificate {pki}/ca.crt; proxy_ssl_verify_depth 2;
    proxy_pass https://mesh;
"""
IDENTITY = "proxy_ssl_certificate {pki}/client.crt; proxy_ssl_certificate_key {pki}/client.key;"
CONFIGURATIONS: dict[str, tuple[str, str, str, list[str]]] = {
    "the seed": (SIMPLE, "proxy_pass https://mesh; proxy_http_version 1.0;", "NO_SNI", ["HTTP10_UPSTREAM", "HOST_NOT_ROUTED"]),
    "no SNI": (SIMPLE, GOOD.replace("server_name on", "server_name off"), "NO_SNI", []),
    "HTTP/1.0": (SIMPLE, GOOD.replace("1.1", "1.0"), "HTTP10_UPSTREAM", []),
    "no Host": (SIMPLE, GOOD.replace("proxy_set_header Host $host;", ""), "HOST_NOT_ROUTED", []),
    "wrong CA": (SIMPLE, GOOD.replace("/ca.crt", "/wrong-ca.crt"), "WRONG_TRUST_ANCHOR", []),
    "wrong name": (OTHER, GOOD, "UPSTREAM_NAME_MISMATCH", []),
    "MUTUAL, no certificate": (MUTUAL, GOOD, "CLIENT_CERT_MISSING", []),
    "healthy": (SIMPLE, GOOD, "", []),
    "healthy, mutual": (MUTUAL, GOOD + IDENTITY, "", []),
    "healthy, certificate not asked for": (SIMPLE, GOOD + IDENTITY, "", []),
}


@pytest.mark.parametrize("title", CONFIGURATIONS)
def test_diagnosis_through_a_real_nginx(ladder: Ladder, tmp_path: Path, title: str) -> None:
    host, location, code, then = CONFIGURATIONS[title]
    port = free_port()
    inside = location.replace("{host}", host).replace("{pki}", str(ladder.folder))
    text = (
        f"upstream mesh {{ server {GATEWAY[0]}:{GATEWAY[1]}; }}\n"
        f"server {{ listen 127.0.0.1:{port}; server_name {host}; location / {{ {inside} }} }}\n"
    )
    with Nginx(tmp_path, text, port) as nginx:
        found = diagnose_nginx(nginx.dump(), host)
    assert (found.cause.code if found.cause else "", [each.code for each in found.then]) == (code, then), found
    assert found.healthy == (not code)


SEED = """server {{
  listen          80;
  server_name     {host};

  location / {{
    proxy_pass      https://{address}:{port};
  }}
}}
"""


@pytest.fixture
def vm() -> Iterator[Host]:
    """A throw-away Debian 12 VM."""
    with spare("bookworm") as host:
        yield host


@pytest.fixture
def inventory(vm: Host, tmp_path: Path) -> Path:
    """The VM with Debian's nginx, for Ansible."""
    inventory = tmp_path / "inventory.json"
    inventory.write_text(json.dumps({"all": {"children": vms.inventory_hosts(vms=(vm,), clients=())}}))
    install = "apt-get -qq update && apt-get -qq install -y nginx >/dev/null && service nginx start"
    ansible(inventory, "ansible.builtin.shell", install)
    return inventory


def ansible(inventory: Path, module: str, arguments: str) -> None:
    done = subprocess.run(
        ["ansible", "-i", str(inventory), "all", "-b", "-m", module, "-a", arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_diagnose_on_a_vm_follows_the_seed_to_its_end(ladder: Ladder, vm: Host, inventory: Path, tmp_path: Path) -> None:
    """The seed's own file on Debian's nginx 1.22, over SSH with become: each code as the file is mended, then nothing."""
    site = SEED.format(host=SIMPLE, address=GATEWAY[0], port=GATEWAY[1])
    mended = {
        "NO_SNI": "",
        "HTTP10_UPSTREAM": "proxy_ssl_name $host; proxy_set_header Host $host; proxy_ssl_server_name on;",
        "": "proxy_ssl_name $host; proxy_set_header Host $host; proxy_ssl_server_name on; proxy_http_version 1.1;",
    }
    report = tmp_path / "diagnosis.json"
    variables = {"diagnose_host": SIMPLE, "diagnose_report": str(report), "edge_kubeconfig": str(settings.KUBECONFIG)}
    for code, more in mended.items():
        local = tmp_path / "site"
        local.write_text(site.replace("proxy_pass", f"{more} proxy_pass"))
        ansible(inventory, "ansible.builtin.copy", f"src={local} dest=/etc/nginx/sites-enabled/default")
        ansible(inventory, "ansible.builtin.command", "nginx -s reload")
        done = subprocess.run(
            ["ansible-playbook", "-i", str(inventory), "playbooks/diagnose.yml", "-e", json.dumps(variables)],
            capture_output=True, text=True, cwd=ROOT, check=False, timeout=300,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
        found = json.loads(report.read_text())
        assert (found["cause"] or {"code": ""})["code"] == code, found
        assert {each["vantage"] for each in found["evidence"]} == {vm.name}
