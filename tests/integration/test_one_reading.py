# SPDX-License-Identifier: GPL-3.0-or-later
"""A namespace and a CA of the user's own, from the issuing to the proof; and how often a run reads the list for it."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.own_gateway import own_gateway
from tests.integration.playbooks import ROUTE, kubectl, play, variables

pytestmark = [pytest.mark.lab, pytest.mark.vms]
VM = "vm-deb13"
MARK = uuid.uuid4().hex[:6]
GATEWAY, APP, PKI = (f"edgemesh-test-{what}-{MARK}" for what in ("read", "app", "pki"))
ROUTES = [
    {
        **ROUTE,
        "name": f"read-{MARK}",
        "host": f"read.{MARK}.example.com",
        "paths": [{"service": {"namespace": APP, "name": "web", "port": 8000}}],
    }
]
# for Ansible's own report of a run, by play, task and host
AS_JSON = {"ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json", "ANSIBLE_CALLBACK_RESULT_FORMAT": "json"}


class World:
    """A gateway of its own, and what a user writes for a route through it."""

    def __init__(self, folder: Path) -> None:
        self.proof = folder / "proof"

    def values(self, vms: str) -> dict[str, Any]:
        return {
            **variables(*ROUTES, vms=vms),
            "edge_namespace": PKI,
            "edge_ca": "corp-ca",
            "edge_issue": "gateway, client, listener",
            "edge_gateways": {"main": {"namespace": GATEWAY, "service": "gw"}},
            "demo_app_namespace": APP,
            "verify_report_dir": str(self.proof),
        }

    def play(self, playbook: str, vms: str) -> list[dict[str, Any]]:
        """The plays of the run, as Ansible reports them."""
        done = play(playbook, self.values(vms), env=AS_JSON)
        assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-1000:]
        plays: list[dict[str, Any]] = json.loads(done.stdout[done.stdout.index("{\n") :])["plays"]
        return plays


def results(plays: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Of every task, by host."""
    for each in plays:
        for task in each["tasks"]:
            yield from task["hosts"].items()


def readings(plays: list[dict[str, Any]]) -> list[str]:
    """The hosts for which the list was read, and not taken from an earlier reading."""
    asked = [(host, result["read"]) for host, result in results(plays) if result.get("action") == "edgemesh.nginx_istio.read_routes"]
    assert len(asked) > 1, "every role begins with it"
    return [host for host, read in asked if read]


def changed(plays: list[dict[str, Any]]) -> list[str]:
    return [f"{host}: {result}" for host, result in results(plays) if result.get("changed")]


def secrets(namespace: str) -> set[str]:
    found = kubectl("get", "secrets", "--namespace", namespace, "--selector", "app.kubernetes.io/managed-by=edgemesh", "--output", "name")
    return {name.rpartition("/")[2] for name in found.split()}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("reading")
    role = {"ansible.builtin.include_role": {"name": "edgemesh.nginx_istio.demo_app"}}
    defaults = {"group/edgemesh.nginx_istio.k8s": {"kubeconfig": "{{ lab_kubeconfig }}"}}
    (folder / "app.yml").write_text(
        json.dumps([{"hosts": "localhost", "gather_facts": False, "module_defaults": defaults, "tasks": [role]}])
    )
    try:
        with own_gateway(GATEWAY, folder):
            made = World(folder)
            made.play(str(folder / "app.yml"), VM)
            yield made
            made.play("teardown.yml", VM)
    finally:
        kubectl("delete", "namespace", APP, PKI, "--ignore-not-found", "--wait=false")


def test_the_cluster_gets_what_the_list_names(world: World) -> None:
    plays = world.play("vm_offload.yml", "none_of_them")
    assert readings(plays) == ["localhost"]
    assert secrets(PKI) == {"corp-ca", "edge-client", "shop-public"}
    assert secrets(GATEWAY) == {f"edge-read-{MARK}", f"edge-read-{MARK}-cacert"}
    again = world.play("vm_offload.yml", "none_of_them")
    assert changed(again) == []
    assert readings(again) == ["localhost"]


def test_the_whole_converges_and_proves(world: World) -> None:
    """The VM takes what the controller has read."""
    assert readings(world.play("site.yml", VM)) == ["localhost"]
    proof = json.loads((world.proof / "proof.json").read_text())
    assert proof["ok"]
    assert [route["name"] for route in proof["routes"]] == [f"read-{MARK}"]
    again = world.play("vm_offload.yml", VM)
    assert changed(again) == []
    assert readings(again) == ["localhost"]
