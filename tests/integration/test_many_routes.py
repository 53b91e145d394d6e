"""200 routes on one VM take little longer than one, and what is right already isn't touched."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab import vms
from lab.settings import Host
from tests.figures import FIGURES
from tests.integration.playbooks import ROUTE, on_host, play, variables
from tests.spare_vms import spare

pytestmark = [pytest.mark.lab, pytest.mark.vms, pytest.mark.soak]

MANY = 200
#: Everything but the proof, whose length goes with the claims that it proves.
CONVERGE = [
    {
        "name": "The cluster",
        "hosts": "localhost",
        "gather_facts": False,
        "module_defaults": {"group/edgemesh.nginx_istio.k8s": {"kubeconfig": "{{ lab_kubeconfig }}"}},
        "tasks": [
            {"ansible.builtin.include_role": {"name": "edgemesh.nginx_istio.gateway_routes", "tasks_from": "find"}},
            {"ansible.builtin.include_role": {"name": "edgemesh.nginx_istio.private_ca"}},
            {"ansible.builtin.include_role": {"name": "edgemesh.nginx_istio.gateway_routes", "tasks_from": "route"}},
        ],
    },
    {
        "name": "The VM",
        "hosts": "many",
        "gather_facts": False,
        "become": True,
        "module_defaults": {"group/edgemesh.nginx_istio.k8s": {"kubeconfig": "{{ lab_kubeconfig }}"}},
        "tasks": [
            {
                "ansible.builtin.include_role": {"name": "edgemesh.nginx_istio.nginx_offload"},
                "vars": {"nginx_offload_upstreams": "{{ hostvars.localhost.gateway_routes_upstreams }}"},
            },
            {"ansible.builtin.include_role": {"name": "edgemesh.nginx_istio.nginx_offload", "tasks_from": "probe"}},
        ],
    },
]


class Many:
    """One VM, which serves as many routes as asked, each with a certificate of its own."""

    def __init__(self, folder: Path, host: Host) -> None:
        self.hosts = vms.inventory_hosts([host], ())["edge_nginx"]["hosts"]
        self.name, self.folder = host.name, folder
        (folder / "hosts.json").write_text(json.dumps({"many": {"hosts": self.hosts}}))
        (folder / "converge.yml").write_text(json.dumps(CONVERGE))

    def converge(self, count: int, size: str) -> tuple[float, int]:
        """Seconds, and how many tasks changed something; ``size`` stands in every route."""
        routes: list[dict[str, Any]] = [
            {
                **ROUTE,
                "name": f"shop{number}",
                "host": f"shop{number}.example.com",
                "on": "many",
                "listen": {"certificate": f"shop{number}-public"},
                "proxy": {"client_max_body_size": size},
            }
            for number in range(count)
        ]
        started = time.monotonic()
        done = play(str(self.folder / "converge.yml"), variables(*routes, vms="many"), "--inventory", str(self.folder / "hosts.json"))
        seconds = time.monotonic() - started
        assert done.returncode == 0, done.stdout[-4000:]
        return seconds, sum(int(number) for number in re.findall(r"changed=(\d+)", done.stdout))

    def on(self, command: str) -> str:
        return on_host(self.name, command, others=self.hosts)

    def files(self) -> str:
        """Inode and times of every file that is ours or nginx's."""
        return self.on("find /etc/nginx /etc/edgemesh -printf '%p %i %T@ %C@\\n' | sort")

    def memory(self) -> int:
        """KiB that nginx alone uses: its processes share most of the rest."""
        return int(self.on("cat $(pgrep -x nginx | sed 's#.*#/proc/&/smaps_rollup#') | awk '/^Pss:/ { sum += $2 } END { print sum }'"))


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Many]:
    folder = tmp_path_factory.mktemp("many")
    with spare("trixie") as host:
        made = Many(folder, host)
        first = play("site.yml", {**variables(ROUTE, vms="none_of_them"), "verify_fail": False}, "--inventory", str(folder / "hosts.json"))
        assert first.returncode == 0, first.stdout[-4000:]
        yield made
        gone = play("teardown.yml", variables(ROUTE, vms="many"), "--inventory", str(folder / "hosts.json"))
        assert gone.returncode == 0, gone.stdout[-4000:]


def test_many_routes_take_little_longer_than_one(many: Many) -> None:
    new = {count: many.converge(count, "1m")[0] for count in (1, MANY)}
    used = {MANY: many.memory()}
    files = many.files()
    again = [many.converge(MANY, "1m") for _run in range(2)]
    assert [changed for _seconds, changed in again] == [0, 0]
    assert many.files() == files, "nothing was rewritten"

    taken: dict[int, list[float]] = {1: [], MANY: []}
    for number in range(3):  # by turns: all routes change
        for count, seconds in taken.items():
            size = f"{2 + number}m"
            if count == 1:
                many.converge(1, "1m")
            else:
                many.converge(MANY, f"{7 + number}m")
            seconds.append(many.converge(count, size)[0])
    many.converge(1, "1m")
    used[1] = many.memory()
    one, all_of_them = min(taken[1]), min(taken[MANY])
    FIGURES.append(
        f"one route: {one:.1f} s; {MANY}: {all_of_them:.1f} s, {all_of_them / one:.2f} times; from nothing {new[1]:.1f} and "
        f"{new[MANY]:.1f} s; nothing to do: {min(seconds for seconds, _changed in again):.1f} s; nginx uses {used[1]} and {used[MANY]} KiB"
    )
    assert all_of_them <= 1.5 * one, (taken, new)
