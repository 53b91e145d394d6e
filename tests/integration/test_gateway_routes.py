# SPDX-License-Identifier: GPL-3.0-or-later
"""Roles private_ca and gateway_routes at a gateway of their own: on the wire, attached, pruned, with foreign things left alone."""

from __future__ import annotations

import base64
import json
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.own_gateway import own_gateway
from tests.integration.playbooks import KUBECTL, LAB, kubectl, play

pytestmark = [pytest.mark.lab, pytest.mark.mesh]
NODE = "198.18.0.1"
MARK = uuid.uuid4().hex[:6]
SPACE = f"edgemesh-test-gw-{MARK}"
APP = f"edgemesh-test-app-{MARK}"
DOMAIN = f"{MARK}.example.com"

ROLES = """
- hosts: localhost
  gather_facts: false
  module_defaults:
    group/edgemesh.nginx_istio.k8s: &cluster
      kubeconfig: "{{ lab_kubeconfig }}"
    group/kubernetes.core.k8s: *cluster
  tasks:
    - name: An app
      ansible.builtin.include_role: {name: edgemesh.nginx_istio.demo_app}
    - name: Read
      edgemesh.nginx_istio.read_routes:
    - name: Look
      ansible.builtin.include_role: {name: edgemesh.nginx_istio.gateway_routes, tasks_from: find}
    - name: Trust
      ansible.builtin.include_role: {name: edgemesh.nginx_istio.private_ca}
      vars:
        private_ca_needs: "{{ ansible_facts.edge__read | edgemesh.nginx_istio.route_needs }}"
    - name: Wire
      ansible.builtin.include_role: {name: edgemesh.nginx_istio.gateway_routes}
    - name: Tell
      ansible.builtin.debug: {var: gateway_routes_upstreams}
"""

END = """
    - name: End
      ansible.builtin.include_role: {name: edgemesh.nginx_istio.gateway_routes}
"""


def route(name: str, **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "host": f"{name}.{DOMAIN}",
        "listen": {"tls": False},
        "paths": [{"service": {"namespace": APP, "name": "web", "port": 8000}}],
        **more,
    }


SIMPLE = route("simple")
MUTUAL = route("mutual", upstream_tls={"mode": "mutual", "client_certificate": "edge-client", "client_names": ["edge.example.com"]})
PASS = route("pass", upstream_tls={"mode": "passthrough"})


@pytest.fixture(scope="module")
def playbook(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A gateway of its own, on NodePorts that Kubernetes chooses."""
    folder = tmp_path_factory.mktemp("gateway")
    (folder / "roles.yml").write_text(ROLES)
    with own_gateway(SPACE, folder):
        yield folder / "roles.yml"
    kubectl("delete", "namespace", APP, "--ignore-not-found", "--wait=false")


def apply(playbook: Path, *given: Any, **more: Any) -> str:
    """Runs the roles for routes; texts among them are Ansible's options."""
    done = run(playbook, *given, **more)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    return done.stdout


def run(playbook: Path, *given: Any, **more: Any) -> subprocess.CompletedProcess[str]:
    routes, words = [each for each in given if isinstance(each, dict)], [each for each in given if isinstance(each, str)]
    values = {
        "edge_namespace": SPACE,
        "edge_routes": routes,
        "edge_gateways": {"main": {"namespace": SPACE, "service": "gw", **more.pop("gateway", {})}},
        "demo_app_namespace": APP,
        "demo_app_image": json.loads((LAB / "images.json").read_text())["httpbin"],
        **more,
    }
    return play(str(playbook), values, *words)


def ours(kind: str) -> set[str]:
    names = kubectl("get", kind, "--namespace", SPACE, "--selector", "app.kubernetes.io/component=gateway-routes", "--output", "name")
    return {name.rpartition("/")[2] for name in names.split()}


def ask(folder: Path, name: str, *more: str) -> str:
    """HTTP status of a request for a route's host at the gateway's NodePort, or what curl says; the name is verified."""
    secret = json.loads(kubectl("get", "secret", "edge-ca", "--namespace", SPACE, "--output", "json"))
    (folder / "ca.crt").write_bytes(base64.b64decode(secret["data"]["ca.crt"]))
    ports = json.loads(kubectl("get", "service", "gw", "--namespace", SPACE, "--output", "json"))["spec"]["ports"]
    (port,) = [each["nodePort"] for each in ports if each["name"] == "https"]
    retry = ["--retry", "15", "--retry-all-errors", "--retry-delay", "1", "--max-time", "30"]
    place = ["--cacert", str(folder / "ca.crt"), "--resolve", f"{name}.{DOMAIN}:{port}:{NODE}"]
    shown = ["--silent", "--show-error", "--output", "/dev/null", "--write-out", "%{http_code}"]
    words = ["curl", *retry, *place, *shown, *more, f"https://{name}.{DOMAIN}:{port}/status/418"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    return done.stdout if done.returncode == 0 else done.stderr


def test_routes_on_the_wire(playbook: Path, tmp_path: Path) -> None:
    output = apply(playbook, SIMPLE, MUTUAL, PASS)
    assert f"{NODE}:" in output
    assert ours("gateways.networking.istio.io") == {"edge-simple", "edge-mutual", "edge-pass"}
    assert ours("secrets") == {"edge-simple", "edge-mutual", "edge-mutual-cacert"}
    gateway = json.loads(kubectl("get", "gateways.networking.istio.io", "edge-mutual", "--namespace", SPACE, "--output", "json"))["spec"]
    service = json.loads(kubectl("get", "service", "gw", "--namespace", SPACE, "--output", "json"))["spec"]
    assert gateway["selector"] == service["selector"]
    assert gateway["servers"][0]["tls"] == {
        "mode": "MUTUAL",
        "credentialName": "edge-mutual",
        "caCertCredentialName": "edge-mutual-cacert",
        "minProtocolVersion": "TLSV1_2",
        "subjectAltNames": ["edge.example.com"],
    }
    assert ask(tmp_path, "simple") == "418"
    client = json.loads(kubectl("get", "secret", "edge-client", "--namespace", SPACE, "--output", "json"))["data"]
    for part in ("tls.crt", "tls.key"):
        (tmp_path / part).write_bytes(base64.b64decode(client[part]))
    shown = ("--cert", str(tmp_path / "tls.crt"), "--key", str(tmp_path / "tls.key"))
    assert ask(tmp_path, "mutual", *shown) == "418"
    assert "418" not in ask(tmp_path, "mutual", "--retry", "0")
    # of the same CA, but not by the pinned name
    server = json.loads(kubectl("get", "secret", "edge-simple", "--namespace", SPACE, "--output", "json"))["data"]
    for part in ("tls.crt", "tls.key"):
        (tmp_path / part).write_bytes(base64.b64decode(server[part]))
    assert "418" not in ask(tmp_path, "mutual", "--retry", "0", *shown)


def test_an_exclusive_list_takes_ours_and_only_ours(playbook: Path) -> None:
    subprocess.run(
        [*KUBECTL, "--namespace", SPACE, "create", "secret", "generic", "edge-of-somebody-else", "--from-literal=a=b"], check=True
    )
    foreign = {"apiVersion": "networking.istio.io/v1", "kind": "Gateway", "metadata": {"name": "edge-foreign", "namespace": SPACE},
               "spec": {"selector": {"istio": "gw"}, "servers": [{"port": {"number": 443, "name": "tls", "protocol": "TLS"},
                        "hosts": [f"*.attached.{DOMAIN}"], "tls": {"mode": "PASSTHROUGH"}}]}}  # fmt: skip
    subprocess.run([*KUBECTL, "apply", "--filename", "-"], input=json.dumps(foreign), text=True, check=True)
    apply(playbook, SIMPLE)
    assert ours("gateways.networking.istio.io") == {"edge-simple", "edge-mutual", "edge-pass"}
    gone = [f"route {name} of list default in namespace {SPACE}" for name in ("mutual", "pass")]
    for check in (["--check"], []):
        output = apply(playbook, SIMPLE, *check, edge_exclusive=True)
        assert [sentence in output for sentence in (*gone, "route simple of list")] == [True, True, False]
    assert ours("gateways.networking.istio.io") == ours("virtualservices.networking.istio.io") == {"edge-simple"}
    kubectl("get", "secret", "edge-of-somebody-else", "--namespace", SPACE)
    kubectl("get", "secret", "edge-ca", "--namespace", SPACE)
    kubectl("get", "gateways.networking.istio.io", "edge-foreign", "--namespace", SPACE)
    assert "changed=0" in apply(playbook, SIMPLE)


def versions(list_name: str) -> dict[str, str]:
    kinds = "gateways.networking.istio.io,virtualservices.networking.istio.io"
    found = kubectl("get", kinds, "--namespace", SPACE, "--selector", f"edgemesh.nginx-istio/list={list_name}", "--output", "json")
    return {f"{each['kind']}/{each['metadata']['name']}": each["metadata"]["resourceVersion"] for each in json.loads(found)["items"]}


def test_lists_share_a_gateway(playbook: Path, tmp_path: Path) -> None:
    before = versions("default")
    assert len(before) == 2
    second = route("second")
    apply(playbook, second, edge_list="b")
    assert ask(tmp_path, "second") == ask(tmp_path, "simple") == "418"
    assert "changed=0" in apply(playbook, second, edge_list="b")
    for taken, said in ((SIMPLE, "route name simple"), ({**second, "name": "other", "host": SIMPLE["host"]}, f"host simple.{DOMAIN}")):
        for check in (["--check"], []):
            refused = run(playbook, taken, *check, edge_list="b")
            assert refused.returncode != 0
            assert f"{said} at gateway main ({SPACE}/gw) belongs to route simple of list default" in refused.stdout.replace("\n", " ")
    assert versions("default") == before
    ended = tmp_path / "end.yml"
    ended.write_text(ROLES.split("    - name: An app")[0] + END)
    output = apply(ended, edge_list="b", gateway_routes_state="absent")
    assert f"route second of list b in namespace {SPACE}" in output
    assert (versions("b"), versions("default")) == ({}, before)
    assert kubectl("get", "leases", "--namespace", SPACE, "--output", "name") == ""


def test_attach_to_a_gateway_that_exists(playbook: Path) -> None:
    live = json.loads(kubectl("get", "gateways.networking.istio.io", "edge-foreign", "--namespace", SPACE, "--output", "json"))
    attached = {**PASS, "host": f"pass.attached.{DOMAIN}"}
    apply(playbook, attached, gateway={"istio_gateway": f"{SPACE}/edge-foreign"}, edge_exclusive=True)
    assert ours("gateways.networking.istio.io") == set()
    service = json.loads(kubectl("get", "virtualservices.networking.istio.io", "edge-pass", "--namespace", SPACE, "--output", "json"))[
        "spec"
    ]
    assert service["gateways"] == [f"{SPACE}/edge-foreign"]
    after = json.loads(kubectl("get", "gateways.networking.istio.io", "edge-foreign", "--namespace", SPACE, "--output", "json"))
    assert after["metadata"]["resourceVersion"] == live["metadata"]["resourceVersion"]
    with pytest.raises(AssertionError, match="doesn't serve"):
        apply(playbook, PASS, gateway={"istio_gateway": f"{SPACE}/edge-foreign"})
