# SPDX-License-Identifier: GPL-3.0-or-later
"""Role private_ca against a real API server: its three ways to keep a CA, and the roll-over, as plays.

cert-manager itself doesn't run here: its kinds are defined as far as the role uses them, and a few lines answer in its place. What
is tested is what the role asks of it, and what it does with the answers.
"""

from __future__ import annotations

import base64
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from plugins.module_utils._kube.client import Client
from plugins.module_utils._kube.connection import connect
from plugins.module_utils._kube.wait import wait_for
from plugins.module_utils._secrets.authority import Authority, dump, load_file
from plugins.module_utils._x509 import chain, facts, sign
from plugins.module_utils._x509.material import SHAPES, Material, from_secret, to_data
from tests.integration.tls_secret.conftest import Player, Run

pytestmark = pytest.mark.cluster
ROLE = "edgemesh.nginx_istio.private_ca"
NEEDS = "{{ ansible_facts.edge__read | edgemesh.nginx_istio.route_needs }}"


def run(play: Player, namespace: str, *options: str, **values: Any) -> Run:
    """The role, with the needs of one route whose gateway is in the same namespace."""
    given = {
        "edge_namespace": namespace,
        "edge_gateways": {"main": {"namespace": namespace}},
        "edge_routes": [
            {
                "name": "shop",
                "host": "shop.example.com",
                "listen": {"tls": False},
                "upstream_tls": {"mode": "mutual", "client_certificate": "edge-client", "client_names": ["edge.example.com"]},
                "paths": [{"service": {"namespace": namespace, "name": "web", "port": 80}}],
            }
        ],
        **values,
    }
    tasks = [
        {"name": "read", "edgemesh.nginx_istio.read_routes": {}},
        {"name": "role", "ansible.builtin.include_role": {"name": ROLE}, "vars": {"private_ca_needs": NEEDS}},
    ]
    return play(tasks, *options, "--extra-vars", json.dumps(given))


def made(client: Client, namespace: str) -> dict[str, Material]:
    return {each["metadata"]["name"]: from_secret(each) for each in client.list("Secret", namespace)[0]}


def versions(client: Client, namespace: str) -> dict[str, str]:
    return {each["metadata"]["name"]: each["metadata"]["resourceVersion"] for each in client.list("Secret", namespace)[0]}


def check(client: Client, namespace: str, cas: int) -> dict[str, Material]:
    """Server and client certificate pass with every copy of the CA, which has so many CAs in it."""
    material = made(client, namespace)
    for copy in ("edge-ca", "edge-shop-cacert"):
        assert len(material[copy].ca) == cas
        for name, usage in (("edge-shop", "server"), ("edge-client", "client")):
            for rules in ("nginx", "envoy"):
                assert chain.verify(material[name].certs, material[copy].ca, rules=rules, purpose=usage).ok
    return material


@pytest.mark.parametrize("keep", ["secret", pytest.param("folder", marks=pytest.mark.soak)])
def test_made_once_and_rolled_over(keep: str, client: Client, namespace: str, folder: Path, play: Player) -> None:
    values = {"private_ca_keep": keep, "private_ca_folder": f"{folder}/ca"}
    first = run(play, namespace, **values)
    assert first.code == 0, first.printed
    before = check(client, namespace, 1)
    assert ("tls.key" in client.get("Secret", "edge-ca", namespace)["data"]) == (keep == "secret")  # type: ignore[index]
    kept = versions(client, namespace)
    again = run(play, namespace, **values)
    assert not any(again.changed().values()), again.printed
    assert versions(client, namespace) == kept
    for stage, cas in (("add", 2), ("switch", 2), ("finish", 1)):
        done = run(play, namespace, **values, private_ca_roll_over=stage)
        assert done.code == 0, done.printed
        check(client, namespace, cas)
    after = made(client, namespace)
    assert not set(before["edge-ca"].ca) & set(after["edge-ca"].ca)
    assert all(not facts.issued_by(after[name].leaf, before["edge-ca"].ca[0]) for name in ("edge-shop", "edge-client"))
    assert not any(run(play, namespace, **values).changed().values())
    if keep == "folder":
        assert (os.listdir(folder / "ca"), load_file((folder / "ca/edge-ca.pem").read_bytes(), "").successor) == (["edge-ca.pem"], None)


def test_a_lost_ca_and_steps_out_of_order(client: Client, namespace: str, play: Player) -> None:
    assert run(play, namespace).code == 0
    early = run(play, namespace, private_ca_roll_over="finish", private_ca_keep="secret")
    assert early.code == 0, "there is nothing to finish"
    early = run(play, namespace, private_ca_roll_over="switch")
    assert "there is no second CA to switch to" in early.printed
    client.delete("Secret", "edge-ca", namespace)
    lost = run(play, namespace)
    assert lost.code != 0
    assert "a new CA would break everything that trusts the old one" in lost.printed
    assert "edge-ca" not in made(client, namespace)
    # the way out by hand: without what it signed there is a new beginning
    for name in ("edge-shop", "edge-client", "edge-shop-cacert"):
        client.delete("Secret", name, namespace)
    assert run(play, namespace).code == 0
    check(client, namespace, 1)


def test_without_routes_it_issues_what_is_written_down(client: Client, namespace: str, play: Player) -> None:
    """By another name of the CA, to a Secret of the partner's and the copy that verifies it; and says who lacks what is somebody else's."""
    ca, partner = f"{namespace}/corp-ca", f"{namespace}/partner"
    needs = [
        {"who": "the partner", "secret": partner, "usage": "client", "names": ["partner.example"], "signer": ca, "issue": True},
        {"who": "its server", "secret": f"{namespace}/clients", "form": "nginx_ca", "copy_of": ca},
    ]
    values = {"edge_namespace": namespace, "edge_ca": "corp-ca", "private_ca_needs": needs}
    role = [{"name": "role", "ansible.builtin.include_role": {"name": ROLE}}]
    done = play(role, "--extra-vars", json.dumps(values))
    assert done.code == 0, done.printed
    material = made(client, namespace)
    assert set(material) == {"corp-ca", "partner", "clients"}
    assert chain.verify(material["partner"].certs, material["clients"].ca, rules="nginx", purpose="client").ok
    absent = {"who": "a shop", "secret": f"{namespace}/shop", "usage": "server", "names": ["a.example"], "way_out": "shop_issue: true"}
    refused = play(role, "--extra-vars", json.dumps({**values, "private_ca_needs": [absent]}))
    assert f"To have {namespace}/shop (a shop) issued, set shop_issue: true." in refused.printed


def crd(kind: str, scope: str) -> dict[str, Any]:
    plural = f"{kind.lower()}s"
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}, "subresources": {"status": {}}}
    names = {"kind": kind, "plural": plural, "singular": kind.lower()}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.cert-manager.io"},
        "spec": {"group": "cert-manager.io", "scope": scope, "names": names, "versions": [version]},
    }


class Stand(threading.Thread):
    """Answers Certificates and issuers as cert-manager does, with what a Certificate asks for."""

    API = "cert-manager.io/v1"

    def __init__(self, client: Client, place: str) -> None:
        super().__init__(daemon=True)
        self.client, self.place, self.done = client, place, threading.Event()
        self.ca: Material = sign.new_ca("cert-manager's", 30)

    def run(self) -> None:
        while not self.done.wait(0.2):
            for kind in ("Issuer", "ClusterIssuer", "Certificate"):
                for each in self.client.list(kind, api_version=self.API)[0]:
                    if not each.get("status"):
                        self.answer(kind, each)

    def answer(self, kind: str, each: dict[str, Any]) -> None:
        name, namespace, spec = each["metadata"]["name"], each["metadata"].get("namespace"), each["spec"]
        if kind == "Certificate":
            self.issue(namespace, spec)
        ready = {"type": "Ready", "status": "True", "reason": "Ready", "observedGeneration": each["metadata"]["generation"]}
        plural = f"{kind.lower()}s"
        path = f"/apis/{self.API}/" + (f"namespaces/{namespace}/" if namespace else "") + f"{plural}/{name}/status"
        body = json.dumps({"status": {"conditions": [ready]}}).encode()
        self.client._call("PATCH", path, {}, body=body, content_type="application/merge-patch+json", where="status")

    def issue(self, namespace: str, spec: dict[str, Any]) -> None:
        if spec.get("isCA"):
            data = dump(Authority(self.ca))
        else:
            usage = "client" if "client auth" in spec["usages"] else "server"
            leaf = sign.new_leaf(self.ca, [*spec.get("dnsNames", []), *spec.get("uris", []), *spec.get("ipAddresses", [])], usage, 20)
            data = to_data(SHAPES["tls"], leaf, include_ca=True)
        self.client.apply(
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "type": "kubernetes.io/tls",
                "metadata": {"namespace": namespace, "name": spec["secretName"], **spec.get("secretTemplate", {})},
                "data": {name: base64.b64encode(value).decode() for name, value in data.items()},
            }
        )


@pytest.fixture
def cert_manager(kubeconfig: Path, client: Client) -> Iterator[Stand]:
    crds = [crd("Issuer", "Namespaced"), crd("ClusterIssuer", "Cluster"), crd("Certificate", "Namespaced")]
    there = client.get("CustomResourceDefinition", "certificates.cert-manager.io")
    if there:
        pytest.skip("this cluster has a cert-manager of its own")
    place = "edgemesh-test-cert-manager"
    client.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": place}})
    for each in crds:
        client.apply(each)
    other = connect({"kubeconfig": str(kubeconfig), "timeout": 240})
    other.field_manager = "cert-manager-certificates-issuing"
    while True:
        try:
            other.list("Certificate", api_version=Stand.API)
            break
        except Exception:
            assert not other.deadline.expired
            threading.Event().wait(0.3)
            other._learnt.clear()
    stand = Stand(other, place)
    stand.start()
    yield stand
    stand.done.set()
    stand.join()
    made = [("CustomResourceDefinition", each["metadata"]["name"]) for each in crds] + [("Namespace", place)]
    for kind, name in made:
        client.delete(kind, name)
    for kind, name in made:  # or the next test takes them for somebody else's
        wait_for(client, kind, name, None, lambda live: "it is still there" if live else "")


def test_with_cert_manager_nothing_is_signed_here(cert_manager: Stand, client: Client, namespace: str, play: Player) -> None:
    # Kubernetes' garbage collector looks for new kinds every half minute, and until then ends no deletion of theirs.
    values = {"private_ca_keep": "cert_manager", "private_ca_cert_manager_namespace": cert_manager.place, "private_ca_timeout": 100}
    first = run(play, namespace, **values)
    assert first.code == 0, first.printed
    material = check(client, namespace, 1)
    assert material["edge-ca"].key is None
    assert all(facts.issued_by(material[name].leaf, cert_manager.ca.leaf) for name in ("edge-shop", "edge-client"))
    asked = {each["metadata"]["name"]: each["spec"] for each in client.list("Certificate", api_version=Stand.API)[0]}
    assert set(asked) == {"edge-ca", "edge-shop", "edge-client"}
    assert (asked["edge-ca"]["isCA"], asked["edge-ca"]["privateKey"]["rotationPolicy"]) == (True, "Never")
    assert asked["edge-client"] == {
        "secretName": "edge-client",
        "secretTemplate": asked["edge-client"]["secretTemplate"],
        "dnsNames": ["edge.example.com"],
        "usages": ["digital signature", "client auth"],
        "duration": "2160h",
        "renewBefore": "720h",
        "privateKey": {"algorithm": "ECDSA", "size": 256, "rotationPolicy": "Always"},
        "issuerRef": {"group": "cert-manager.io", "kind": "ClusterIssuer", "name": "edge-ca"},
    }
    kept = versions(client, namespace)
    again = run(play, namespace, **values)
    assert not any(again.changed().values()), again.printed
    assert versions(client, namespace) == kept
    assert "can't be rolled over here" in run(play, namespace, **values, private_ca_roll_over="add").printed
    gone = run(play, namespace, **values, private_ca_state="absent")
    assert gone.code == 0, gone.printed
    assert {each["metadata"]["name"] for each in client.list("Certificate", api_version=Stand.API)[0]} == {"edge-ca"}
    assert set(made(client, namespace)) == {"edge-ca"}
    gone = run(play, namespace, **values, private_ca_state="absent", private_ca_remove=True)
    assert gone.code == 0, gone.printed
    assert client.list("Certificate", api_version=Stand.API)[0] == client.list("ClusterIssuer", api_version=Stand.API)[0] == []
    assert client.get("Secret", "edge-ca", cert_manager.place) is None


@pytest.mark.soak
def test_with_a_cluster_issuer_of_the_users_own(cert_manager: Stand, client: Client, namespace: str, play: Player) -> None:
    values = {"private_ca_keep": "cert_manager", "private_ca_issuer": "theirs", "private_ca_timeout": 100}
    first = run(play, namespace, **values)
    assert first.code == 0, first.printed
    check(client, namespace, 1)
    assert client.list("ClusterIssuer", api_version=Stand.API)[0] == []
    assert {each["spec"]["issuerRef"]["name"] for each in client.list("Certificate", api_version=Stand.API)[0]} == {"theirs"}
