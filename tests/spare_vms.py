# SPDX-License-Identifier: GPL-3.0-or-later
"""VMs, and bare network namespaces, that a test makes and throws away.

Each has a name and an address that no other test run on this machine uses: whoever holds the number's lock has them, and the kernel
gives the lock back when a run is killed.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager

from lab import netns, settings, vms
from lab.settings import Host
from tests.quiet import Quiet

NUMBERS = range(200, 240)


@contextmanager
def place(release: str = "") -> Iterator[Host]:
    """A name and an address that nobody else has meanwhile."""
    settings.RUN.mkdir(parents=True, exist_ok=True)
    for number in NUMBERS:
        with (settings.RUN / f"test-vm-{number}.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            yield Host(f"vm-test{number}", f"198.18.0.{number}", f"2001:db8:18::{number}", release)
            return
    raise RuntimeError("all addresses for VMs of tests are in use")


@contextmanager
def spare(release: str) -> Iterator[Host]:
    """A running VM of a Debian release, as if just installed."""
    with place(release) as host:
        try:
            vms.down([host.name], purge=True)  # of a run that was killed
            vms.up(Quiet(), vms=[host], clients=())
            yield host
        finally:
            vms.down([host.name], purge=True)


@contextmanager
def spare_namespace() -> Iterator[Host]:
    """A network namespace with addresses of its own, in which nothing runs; what a test starts in it ends with it."""
    with place() as host:
        try:
            remove(host)
            netns.ensure(host)
            yield host
        finally:
            remove(host)


def remove(host: Host) -> None:
    """End what runs in a network namespace, and take it away."""
    vms.stop(host.name, None)
    netns.remove(host.name)
