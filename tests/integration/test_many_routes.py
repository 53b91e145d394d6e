# SPDX-License-Identifier: GPL-3.0-or-later
"""A VM converges to 200 routes in little more time than to one, and what is right already isn't touched."""

from __future__ import annotations

import itertools
import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from lab import settings, vms
from lab.settings import Host
from tests.figures import FIGURES
from tests.integration.playbooks import ROUTE, on_host, play, variables
from tests.spare_vms import spare

pytestmark = [pytest.mark.lab, pytest.mark.vms, pytest.mark.soak]

MANY = 200
GATEWAY = f"{settings.NODE_IP}:{settings.NODE_PORTS['https']}"
DEFAULTS = {"group/edgemesh.nginx_istio.k8s": {"kubeconfig": "{{ lab_kubeconfig }}"}}


def roles(*names: str) -> list[dict[str, Any]]:
    """Tasks that run roles of ours, or a part of one as role/part."""
    parts = [name.partition("/") for name in names]
    included = [{"name": f"edgemesh.nginx_istio.{name}", **({"tasks_from": part} if part else {})} for name, _slash, part in parts]
    needs = {"private_ca_needs": "{{ ansible_facts.edge__read | edgemesh.nginx_istio.route_needs }}"}
    return [{"ansible.builtin.include_role": each, "vars": needs if each["name"].endswith("private_ca") else {}} for each in included]


def playbook(hosts: str, *names: str) -> str:
    play = {"name": "Roles", "hosts": hosts, "gather_facts": False, "become": hosts == "many", "module_defaults": DEFAULTS}
    return json.dumps([{**play, "tasks": roles(*names)}])


class Many:
    """One VM, which serves as many routes as asked, each with a certificate of its own."""

    def __init__(self, folder: Path, host: Host) -> None:
        self.hosts = vms.inventory_hosts([host], ())["edge_nginx"]["hosts"]
        self.name, self.folder = host.name, folder
        (folder / "hosts.json").write_text(json.dumps({"many": {"hosts": self.hosts}}))
        (folder / "cluster.yml").write_text(playbook("localhost", "gateway_routes/find", "private_ca", "gateway_routes/route"))
        (folder / "vm.yml").write_text(playbook("many", "nginx_offload", "nginx_offload/probe"))

    def play(self, name: str, count: int, size: str = "1m") -> tuple[float, int]:
        """Seconds, and how many tasks changed something; ``size`` stands in every route."""
        routes: list[dict[str, Any]] = [
            {
                **ROUTE,
                "name": f"shop{number}",
                "host": f"shop{number}.example.com",
                "on": "many",
                "listen": {"certificate": f"shop{number}-public"},
                "upstream_tls": {},
                "proxy": {"client_max_body_size": size},
            }
            for number in range(count)
        ]
        values = {**variables(*routes, vms="many"), "nginx_offload_upstreams": {"main": [GATEWAY]}}
        started = time.monotonic()
        done = play(str(self.folder / name), values, "--inventory", str(self.folder / "hosts.json"))
        seconds = time.monotonic() - started
        assert done.returncode == 0, done.stdout[-4000:]
        print(f"{name}, {count} routes: {seconds:.1f} s", flush=True)
        return seconds, sum(int(number) for number in re.findall(r"changed=(\d+)", done.stdout))

    def converge(self, count: int, size: str) -> tuple[float, int]:
        """On the VM, certificates from the cluster included."""
        return self.play("vm.yml", count, size)

    def on(self, command: str) -> str:
        return on_host(self.name, command, others=self.hosts)

    def files(self) -> str:
        """Inode and times of every file that is ours or nginx's."""
        return self.on("find /etc/nginx /etc/edgemesh -printf '%p %i %T@ %C@\\n' | sort")

    def memory(self) -> int:
        """KiB that nginx alone uses: its processes share most of the rest."""
        return int(self.on("cat $(pgrep -x nginx | sed 's#.*#/proc/&/smaps_rollup#') | awk '/^Pss:/ { sum += $2 } END { print sum }'"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where playbooks lie; the cluster is ready for all routes."""
    made = tmp_path_factory.mktemp("many")
    with spare("trixie") as host:
        first = Many(made, host)
        done = play("site.yml", {**variables(ROUTE, vms="none_of_them"), "verify_fail": False}, "--inventory", str(made / "hosts.json"))
        assert done.returncode == 0, done.stdout[-4000:]
        first.play("cluster.yml", MANY)
        yield made
        gone = play("teardown.yml", variables(ROUTE, vms="many"), "--inventory", str(made / "hosts.json"))
        assert gone.returncode == 0, gone.stdout[-4000:]


@contextmanager
def another(folder: Path) -> Iterator[Many]:
    """A VM as if just installed."""
    (folder / "vm").mkdir(exist_ok=True)
    with spare("trixie") as host:
        yield Many(folder / "vm", host)


def test_a_vm_converges_to_many_routes_in_little_more_time_than_to_one(folder: Path) -> None:
    """From a VM without nginx; then the second and the third run."""
    taken: dict[int, list[float]] = {1: [], MANY: []}
    used = {}
    for _round in range(3):
        for count, seconds in taken.items():
            with another(folder) as vm:
                seconds.append(vm.converge(count, "1m")[0])
                used[count] = vm.memory()
                files = vm.files()
                again = [vm.converge(count, "1m") for _run in range(2)]
                assert [changed for _seconds, changed in again] == [0, 0]
                assert vm.files() == files, "nothing was rewritten"
    one, all_of_them = median(taken[1]), median(taken[MANY])
    FIGURES.append(
        f"one route: {one:.1f} s; {MANY}: {all_of_them:.1f} s, {all_of_them / one:.2f} times; nginx uses {used[1]} and {used[MANY]} KiB"
    )
    assert all_of_them <= 1.5 * one, taken


def test_many_routes_change_in_little_more_time_than_one(folder: Path) -> None:
    """Where nginx is there already, each change costs nginx and the probes more: all of them load and ask for every route."""
    taken: dict[int, list[float]] = {1: [], MANY: []}
    sizes = itertools.count(2)
    with another(folder) as vm:
        for _round in range(3):
            for count, seconds in taken.items():
                vm.converge(count, f"{next(sizes)}m")
                seconds.append(vm.converge(count, f"{next(sizes)}m")[0])
    one, all_of_them = min(taken[1]), min(taken[MANY])
    FIGURES.append(f"to change one route: {one:.1f} s; {MANY}: {all_of_them:.1f} s, {all_of_them / one:.2f} times")
    assert all_of_them <= 2.5 * one, taken
