# SPDX-License-Identifier: GPL-3.0-or-later
"""Two VMs of a test's own, which several lists of routes share, and what each list has on them and in the cluster."""

from __future__ import annotations

import json
import os
import re
import subprocess
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lab import vms
from lab.settings import Host
from tests.integration.playbooks import CHECKOUT, INVENTORY, ROUTE, kubectl, on_host, variables

LONG = bool(os.environ.get("EDGEMESH_SOAK"))
#: the group of both VMs, and that of the second alone
BOTH, ONE = "edge_lists", "edge_lists_one"
KINDS = "secrets,gateways.networking.istio.io,virtualservices.networking.istio.io,authorizationpolicies.security.istio.io"
OURS = "app.kubernetes.io/managed-by=edgemesh"
LIST = "edgemesh.nginx-istio/list"
STATUS = ROUTE["probe"]["status"]
#: Namespaces of the test's own, because other tests run in the same mesh: the app's, the gateway's, and that of the Secrets.
MARK = uuid.uuid4().hex[:6]
APP, GATEWAY, PKI = (f"edgemesh-test-lists-{what}-{MARK}" for what in ("app", "gw", "pki"))

Routes = list[dict[str, Any]]


def route(name: str, mode: str = "mutual", on: str = BOTH, **more: Any) -> dict[str, Any]:
    """A route whose Secrets have its list's name in front: ``a-shop`` is list a's."""
    owner = name.partition("-")[0]
    mutual = {"mode": "mutual", "client_certificate": f"{owner}-client", "client_names": [f"{owner}.example.com"]}
    return {
        **ROUTE,
        "name": name,
        "host": f"{name}.lists.example.com",
        "on": on,
        "listen": {"certificate": f"{name}-public"},
        "upstream_tls": mutual if mode == "mutual" else {},
        "paths": [{"service": {"namespace": APP, "name": "web", "port": 8000}}],
        **more,
    }


def survey(name: str, **more: Any) -> dict[str, Any]:
    """The answers to a survey that adds one route."""
    return {
        "edge_list": "survey",
        "edge_name": name,
        "edge_host": f"{name}.lists.example.com",
        "edge_on": BOTH,
        "edge_mode": "mutual",
        "edge_client_certificate": "survey-client",
        "edge_client_names": "survey.example.com",
        "edge_service": "web",
        "edge_service_namespace": APP,
        "edge_service_port": "8000",
        "edge_probe_path": ROUTE["probe"]["path"],
        "edge_probe_status": str(STATUS),
        **more,
    }


class World:
    """The VMs, the way to run playbooks on them, and what is there.

    :ivar serving: what answers now: VMs by the name of a route.
    """

    def __init__(self, folder: Path, first: Host, second: Host) -> None:
        self.folder, self.vms = folder, [first.name, second.name]
        self.reached = vms.inventory_hosts([first, second], ())["edge_nginx"]["hosts"]
        self.serving: dict[str, list[str]] = {}
        self._inventory = folder / "hosts.json"
        self._inventory.write_text(json.dumps({BOTH: {"hosts": self.reached}, ONE: {"hosts": {second.name: self.reached[second.name]}}}))

    def values(self, list_name: str, routes: Routes, **more: Any) -> dict[str, Any]:
        """The variables of a run of this list: on both VMs, or on the second where all its routes are there."""
        group, where = (ONE, self.vms[1:]) if routes and all(each.get("on") == ONE for each in routes) else (BOTH, self.vms)
        common = {**variables(*routes, vms=group), "verify_hosts": where, "verify_report_dir": str(self.folder / "proof")}
        common.update(edge_namespace=PKI, edge_gateways={"main": {"namespace": GATEWAY, "service": "gw"}})
        return {**common, "edge_demo_app": False, "demo_app_namespace": APP, "edge_list": list_name, "edge_remove_ca": False, **more}

    def app(self, state: str = "present") -> None:
        """The app behind all routes."""
        role = {"ansible.builtin.include_role": {"name": "edgemesh.nginx_istio.demo_app"}, "vars": {"demo_app_state": state}}
        defaults = {"group/edgemesh.nginx_istio.k8s": {"kubeconfig": "{{ lab_kubeconfig }}"}}
        play = {"hosts": "localhost", "gather_facts": False, "module_defaults": defaults, "tasks": [role]}
        (self.folder / "app.yml").write_text(json.dumps([play]))
        self.run(self.values("app", []), str(self.folder / "app.yml"))

    def end(self) -> None:
        """Everything that this world's lists have, the CA last."""
        self.run(self.values("default", [], edge_all_lists=True, edge_remove_ca=True), "teardown.yml")
        kubectl("delete", "namespace", APP, PKI, "--ignore-not-found", "--wait=false")

    def command(self, playbook: str, values: dict[str, Any], *more: str) -> list[str]:
        words = [
            "ansible-playbook",
            str(CHECKOUT / "playbooks" / playbook),
            "--inventory",
            str(INVENTORY),
            "--inventory",
            str(self._inventory),
        ]
        return [*words, "--extra-vars", json.dumps(values), *more]

    def start(self, values: dict[str, Any], playbook: str = "site.yml", *more: str) -> subprocess.Popen[str]:
        """A run that goes on by itself."""
        words = self.command(playbook, values, *more)
        return subprocess.Popen(words, cwd=CHECKOUT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def run(self, values: dict[str, Any], playbook: str = "site.yml", *more: str, good: bool = True) -> str:
        """What a run printed.

        :param good: whether it must succeed; it must fail otherwise.
        """
        process = self.start(values, playbook, *more)
        printed, _nothing = process.communicate(timeout=600)
        assert (process.returncode == 0) == good, printed[-6000:]
        return printed

    def on(self, vm: str, command: str) -> str:
        return on_host(vm, command, others=self.reached)

    def address(self, vm: str) -> str:
        return str(self.reached[vm]["ansible_host"])

    def answers(self) -> dict[tuple[str, str], str]:
        """The status that each route is answered with, by route and VM; all of :attr:`serving`."""
        return {(name, vm): self.ask(vm, f"{name}.lists.example.com") for name, where in self.serving.items() for vm in where}

    def ask(self, vm: str, host: str) -> str:
        """One request on a new connection."""
        place = ["--resolve", f"{host}:443:{self.address(vm)}", f"https://{host}{ROUTE['probe']['path']}"]
        words = ["curl", "--silent", "--insecure", "--max-time", "10", "--output", "/dev/null", "--write-out", "%{http_code}", *place]
        return subprocess.run(words, capture_output=True, text=True, timeout=30, check=False).stdout

    def everything_answers(self) -> None:
        wrong = {place: status for place, status in self.answers().items() if status != str(STATUS)}
        assert not wrong, wrong

    def state(self) -> dict[str, str]:
        """Every object of ours with its list and resourceVersion, and every file on the VMs with its inode and times."""
        found = {}
        for namespace in (GATEWAY, PKI):
            for item in json.loads(kubectl("get", KINDS, "--namespace", namespace, "--selector", OURS, "--output", "json"))["items"]:
                metadata = item["metadata"]
                found[f"{item['kind']} {namespace}/{metadata['name']}"] = metadata["resourceVersion"]
        for vm in self.vms:
            for folder in ("/etc/nginx/edgemesh/current/", "/etc/edgemesh/tls/"):
                listed = self.on(vm, f"find {folder} -type f -printf '%P %i %T@\\n' 2>/dev/null || true")
                found.update({f"{vm} {folder}{path}": rest for path, _space, rest in (line.partition(" ") for line in listed.splitlines())})
        return found

    def snapshot(self, vm: str) -> str:
        """Everything below /etc on a VM, but what installing a package notes."""
        return self.on(vm, "find /etc -xdev \\( -type f -o -type l \\) -printf '%p %m %l %s\\n' | sort")


def of_list(state: dict[str, str], name: str) -> dict[str, str]:
    """The part of a state that is one list's alone, by the names of this module."""
    mine = re.compile(rf"(^|[/-]){re.escape(name)}-")
    return {place: version for place, version in state.items() if mine.search(place.partition(" ")[2])}


def unchanged(before: dict[str, str], after: dict[str, str], lists: Iterable[str]) -> None:
    """Nothing of these lists has changed."""
    for name in lists:
        assert of_list(before, name) == of_list(after, name), name


def changed_tasks(printed: str) -> set[str]:
    return set(re.findall(r"changed=(\d+)", printed))


def proof(world: World) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((world.folder / "proof" / "proof.json").read_text())
    return found
