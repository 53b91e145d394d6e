# SPDX-License-Identifier: GPL-3.0-or-later
"""Twenty lists of ten routes on one VM: a change of one route takes little more time than on an empty VM, and nginx no more memory."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
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

LISTS, EACH, ROUNDS = 20, 10, 5
GATEWAY = f"{settings.NODE_IP}:{settings.NODE_PORTS['https']}"
MATERIAL = "/etc/ssl/lists"


class Machine:
    """A VM with certificates of its own, whose nginx asks no cluster."""

    def __init__(self, folder: Path, host: Host) -> None:
        self.hosts, self.name, self.folder = vms.inventory_hosts([host], ())["edge_nginx"]["hosts"], host.name, folder
        self.inventory = folder / f"{host.name}.json"
        self.inventory.write_text(json.dumps({"lists_vm": {"hosts": self.hosts}}))
        role = {"ansible.builtin.include_role": {"name": "edgemesh.nginx_istio.nginx_offload"}}
        (folder / "vm.yml").write_text(json.dumps([{"hosts": "lists_vm", "gather_facts": False, "become": True, "tasks": [role]}]))
        self.on(
            f"mkdir -p {MATERIAL} && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=lists -days 30 "
            f"-keyout {MATERIAL}/tls.key -out {MATERIAL}/tls.crt"
        )

    def on(self, command: str) -> str:
        return on_host(self.name, command, others=self.hosts)

    def converge(self, list_name: str, names: list[str], size: str = "1m", **more: Any) -> float:
        """Seconds for these routes of the list."""
        pair = {"cert_file": f"{MATERIAL}/tls.crt", "key_file": f"{MATERIAL}/tls.key"}
        routes = [
            {
                **ROUTE,
                "name": name,
                "host": f"{name}.many.example.com",
                "on": "lists_vm",
                "listen": {"certificate": pair},
                "upstream_tls": {"server_ca": {"file": f"{MATERIAL}/tls.crt"}},
                "proxy": {"client_max_body_size": size},
            }
            for name in names
        ]
        values = {**variables(*routes, vms="lists_vm"), "edge_list": list_name, "nginx_offload_upstreams": {"main": [GATEWAY]}, **more}
        started = time.monotonic()
        done = play(str(self.folder / "vm.yml"), values, "--inventory", str(self.inventory))
        seconds = time.monotonic() - started
        assert done.returncode == 0, done.stdout[-4000:]
        return seconds

    def memory(self) -> int:
        """KiB that nginx alone uses just after its start: each reload leaves holes, and old workers, in the memory."""
        self.on("service nginx restart")
        return int(self.on("cat $(pgrep -x nginx | sed 's#.*#/proc/&/smaps_rollup#') | awk '/^Pss:/ { sum += $2 } END { print sum }'"))


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Machine, Machine, Machine]]:
    """One for a single route, one for many lists, one for the same routes in a single list."""
    folder = tmp_path_factory.mktemp("many")
    with spare("trixie") as first, spare("trixie") as second, spare("trixie") as third:
        yield Machine(folder, first), Machine(folder, second), Machine(folder, third)


def test_a_change_of_one_route_among_many_lists(machines: tuple[Machine, Machine, Machine]) -> None:
    single, many, whole = machines
    single.converge("list0", ["list0-0"])
    for number in range(LISTS):
        many.converge(f"list{number}", [f"list{number}-{each}" for each in range(EACH)])
    whole.converge("default", [f"list{number}-{each}" for number in range(LISTS) for each in range(EACH)])
    taken: dict[str, list[float]] = {"single": [], "many": []}
    for number in range(ROUNDS):
        for name, machine in (("single", single), ("many", many)):
            taken[name].append(machine.converge("list0", ["list0-0"], f"{number + 2}m"))
    one, among = median(taken["single"]), median(taken["many"])
    used = {"lists": many.memory(), "one list": whole.memory()}
    FIGURES.append(
        f"one route changed: {one:.1f} s alone, {among:.1f} s among {LISTS * EACH} routes of {LISTS} lists ({among / one:.2f} times); "
        f"nginx uses {used['lists']} KiB, with the same routes in one list {used['one list']} KiB"
    )
    assert among <= 1.5 * one, taken
    assert used["lists"] <= 1.05 * used["one list"]
    again = many.converge("list0", ["list0-0"], f"{ROUNDS + 1}m")
    assert again
    assert many.on("ls /etc/nginx/edgemesh/current/ | grep -c '^route-'").strip() == str(LISTS * EACH)
