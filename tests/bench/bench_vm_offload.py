# SPDX-License-Identifier: GPL-3.0-or-later
"""Playbook vm_offload with its proof, beside a plain playbook of kubernetes.core and templates without one (tests/bench/plain).

Both have two routes on the lab's two VMs and nothing to do. Whole runs of ansible-playbook are timed, in turns, so that what else the
machine does hits both. Needs the lab (``make lab``). Two checkouts can be measured side by side. From the checkout:

    python -m tests.bench.bench_vm_offload [rounds] [checkout...]
"""

from __future__ import annotations

import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.integration.playbooks import CHECKOUT, INVENTORY, LAB, hosts

PLAIN = Path(__file__).with_name("plain")
ROUTES = [
    {"name": "shop", "host": "plain-shop.example.com", "mutual": False},
    {"name": "pay", "host": "plain-pay.example.com", "mutual": True},
]


def play(checkout: Path, *words: str, **variables: Any) -> tuple[float, str]:
    """Seconds that a whole run took with this checkout as the collection, and what it printed.

    :raises RuntimeError: when it failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        link = Path(folder) / "ansible_collections" / "edgemesh" / "nginx_istio"
        link.parent.mkdir(parents=True)
        link.symlink_to(checkout)
        environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": folder, "ANSIBLE_CONFIG": str(checkout / "ansible.cfg")}
        command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(INVENTORY), *words, "-e", json.dumps(variables)]
        started = time.perf_counter()
        done = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, check=False)
        seconds = time.perf_counter() - started
    if done.returncode:
        raise RuntimeError(done.stdout[-3000:] + done.stderr[-1000:])
    return seconds, done.stdout


def ours(checkout: Path, playbook: str, report: Path) -> tuple[float, str]:
    """The demo's two routes, by the variables of that checkout."""
    image = json.loads((LAB / "images.json").read_text())["httpbin"]
    variables = {"demo_app_image": image, "verify_report_dir": str(report)}
    return play(checkout, f"edgemesh.nginx_istio.{playbook}", "-e", f"@{checkout / 'demo' / 'vars.yml'}", **variables)


def plain(playbook: str) -> tuple[float, str]:
    """The same two routes under other names and on another port."""
    variables = {"plain_namespace": "edgemesh-bench", "plain_folder": "/etc/edgemesh-bench", "plain_routes": ROUTES}
    return play(CHECKOUT, str(PLAIN / f"{playbook}.yml"), **variables)


def answers() -> None:
    """The plain playbook's routes work: else it would do less than it says.

    :raises subprocess.CalledProcessError: where one doesn't answer.
    """
    address = hosts("edge_nginx")["vm-deb12"]["ansible_host"]
    for route in ROUTES:
        name = f"{route['host']}:8443"
        command = ["curl", "--silent", "--show-error", "--fail", "--insecure", "--retry", "5", "--retry-all-errors"]
        subprocess.run([*command, "--resolve", f"{name}:{address}", f"https://{name}/headers"], check=True, capture_output=True)


def measure(rounds: int, checkouts: Sequence[Path]) -> dict[str, list[float]]:
    """Seconds of every run, by checkout; those of the plain playbook under ``plain``.

    :raises RuntimeError: where one fails, or changes something although nothing is to be done.
    """
    times: dict[str, list[float]] = {name: [] for name in ("plain", *map(str, checkouts))}
    with tempfile.TemporaryDirectory() as name:
        report = Path(name)

        def run(which: str) -> None:
            seconds, printed = plain("plain") if which == "plain" else ours(Path(which), "vm_offload", report)
            if re.search(r"changed=[1-9]", printed):
                raise RuntimeError(f"{which} changed something\n{printed[-3000:]}")
            times[which].append(seconds)

        try:
            for checkout in checkouts[:1]:
                ours(checkout, "site", report)
            plain("prepare")
            plain("plain")
            answers()
            for turn in range(rounds):
                for checkout in checkouts:
                    if len(checkouts) > 1:  # another checkout may have left it in another way
                        ours(checkout, "vm_offload", report)
                    for which in ("plain", str(checkout)) if turn % 2 else (str(checkout), "plain"):
                        run(which)
        finally:
            plain("absent")
    return times


def main() -> None:
    """Measure and print."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    times = measure(rounds, [Path(each).resolve() for each in sys.argv[2:]] or [CHECKOUT])
    middle = statistics.median(times["plain"])
    for name, seconds in times.items():
        found = statistics.median(seconds)
        print(f"{name:40} {found:6.2f} s ({min(seconds):.2f} to {max(seconds):.2f}), ratio to plain {found / middle:.2f}")


if __name__ == "__main__":
    main()
