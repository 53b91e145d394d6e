# SPDX-License-Identifier: GPL-3.0-or-later
"""Ten VMs: one that is broken on purpose stops the roll-out while the others serve; mended, the same command goes on."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import pytest

from lab import netns, settings, vms
from lab.settings import Host
from tests.figures import FIGURES
from tests.integration.playbooks import ROUTE, on_host, play, variables
from tests.quiet import Quiet

pytestmark = [pytest.mark.lab, pytest.mark.vms, pytest.mark.soak]

FLEET = [Host(f"fleet-{number}", f"198.18.0.{150 + number}", f"2001:db8:18::{150 + number}", "trixie") for number in range(10)]
REACHED = vms.inventory_hosts(FLEET, ())["edge_nginx"]["hosts"]
ONE, BROKEN = FLEET[0].name, FLEET[2].name
NO_WAY = ["OUTPUT", "--protocol", "tcp", "--dport", str(settings.NODE_PORTS["https"]), "--jump", "REJECT"]


class Fleet:
    def __init__(self, folder: Path) -> None:
        self.inventory = folder / "fleet.json"
        self.inventory.write_text(json.dumps({"fleet": {"hosts": REACHED}}))

    def play(self, playbook: str, hosts: str, size: str = "1m", **more: object) -> tuple[subprocess.CompletedProcess[str], float]:
        """Run it for these hosts; ``size`` is the body size in the route, by which changes are told apart."""
        values = {
            **variables({**ROUTE, "on": "fleet", "proxy": {"client_max_body_size": size}}, vms=hosts),
            "verify_hosts": list(REACHED) if hosts == "fleet" else [hosts],
            "nginx_offload_remove_package": False,
            "nginx_offload_probe_wait_timeout": 10,
            **more,
        }
        started = time.monotonic()
        done = play(playbook, values, "--inventory", str(self.inventory), "--forks", "10")
        return done, time.monotonic() - started

    def sizes(self) -> dict[str, str]:
        """What each host's configuration says."""
        said = {name: on_host(name, "cat /etc/nginx/edgemesh/current/*.conf", others=REACHED) for name in REACHED}
        return {name: "".join(re.findall(r"client_max_body_size (\w+);", text)) for name, text in said.items()}


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    vms.up(Quiet(), vms=FLEET, clients=())
    fleet = Fleet(tmp_path_factory.mktemp("fleet"))
    yield fleet
    done, _seconds = fleet.play("teardown.yml", "fleet")
    vms.down(list(REACHED), purge=True)
    assert done.returncode == 0, done.stdout[-3000:]


def answers() -> dict[str, str]:
    """The status that a client gets from each host's nginx; whose certificate it is, other tests ask."""
    found = {}
    for name, host in REACHED.items():
        place = ["--resolve", f"{ROUTE['host']}:443:{host['ansible_host']}"]
        shown = ["--silent", "--insecure", "--max-time", "10", "--output", "/dev/null", "--write-out", "%{http_code}"]
        words = ["curl", *place, *shown, f"https://{ROUTE['host']}/status/418"]
        found[name] = subprocess.run(words, capture_output=True, text=True, timeout=30, check=False).stdout
    return found


def test_a_broken_host_stops_the_roll_out_and_the_others_serve(fleet: Fleet) -> None:
    done, first = fleet.play("site.yml", "fleet", "1m")
    assert done.returncode == 0, done.stdout[-4000:]
    assert set(answers().values()) == {"418"}

    inside = ["ip", "netns", "exec", netns.namespace(BROKEN), "iptables"]
    subprocess.run([*inside, "--insert", *NO_WAY], check=True)
    done, _seconds = fleet.play("vm_offload.yml", "fleet", "2m", edge_serial=[1, 3, "100%"])
    assert done.returncode != 0
    assert re.search(rf"fatal: \[{BROKEN}\].*HTTP 502", done.stdout, re.DOTALL), done.stdout[-4000:]
    assert "200 to 499" in done.stdout, "said in words that a person can read"
    assert {name for name, status in answers().items() if status != "418"} == {BROKEN}
    reached = {name for name, size in fleet.sizes().items() if size == "2m"}
    assert reached == {host.name for host in FLEET[:4]}, "the batch with the broken host is the last one that was touched"

    subprocess.run([*inside, "--delete", *NO_WAY], check=True)
    done, _seconds = fleet.play("vm_offload.yml", "fleet", "2m", edge_serial=[1, 3, "100%"])
    assert done.returncode == 0, done.stdout[-4000:]
    assert set(fleet.sizes().values()) == {"2m"}
    assert set(answers().values()) == {"418"}
    print(f"ten hosts from nothing: {first:.0f} s")


def test_ten_hosts_take_little_longer_than_one(fleet: Fleet) -> None:
    """A change and its proof, by turns, so that the machine's moods hit both neighbours; the middle one of their ratios counts."""
    one, ten = [], []
    for number in range(3, 12):
        for hosts, taken in ((ONE, one), ("fleet", ten)):
            done, seconds = fleet.play("vm_offload.yml", hosts, f"{number}m" if hosts == ONE else f"{number}k")
            assert done.returncode == 0, done.stdout[-4000:]
            taken.append(seconds)
    ratios = sorted(many / single for many, single in zip(ten, one))
    times = f"{median(ratios):.2f} times ({ratios[0]:.2f} to {ratios[-1]:.2f})"
    FIGURES.append(f"a change and its proof: one host {median(one):.1f} s, ten hosts {median(ten):.1f} s, {times}")
    assert median(ratios) <= 2.5, FIGURES[-1]
