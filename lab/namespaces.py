# SPDX-License-Identifier: GPL-3.0-or-later
"""Which processes are a VM's, told by namespaces and mounts rather than by notes."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from . import netns
from .processes import Process


def inits(folder: Path) -> dict[str, Process]:
    """Init of each VM that runs, by name.

    :param folder: where VMs have their folders, which their root mounts are named after.
    """
    ours = os.readlink("/proc/self/ns/pid")
    found = {}
    for process in all_processes():
        try:
            if os.readlink(f"/proc/{process.pid}/ns/pid") == ours or not is_init(Path(f"/proc/{process.pid}/status").read_text()):
                continue
            root = root_of(Path(f"/proc/{process.pid}/mountinfo").read_text())
        except OSError:  # it has ended meanwhile
            continue
        if root and root.parent == folder:
            found[root.name] = process
    return found


def is_init(status: str) -> bool:
    """Whether a /proc/PID/status tells of process 1 of a namespace inside this one."""
    match = re.search(r"^NSpid:\t(.*)$", status, re.MULTILINE)
    return match is not None and match[1].split()[-1] == "1"


def root_of(mounts: str) -> Path | None:
    """By what name the overlay at / is mounted, in a /proc/PID/mountinfo; None where that is no overlay."""
    for line in mounts.splitlines():
        left, _, right = line.partition(" - ")
        kind, source = right.split()[:2]
        if left.split()[4] == "/" and kind == "overlay":
            return Path(source)
    return None


def members(name: str) -> Iterator[Process]:
    """Processes inside a host's network namespace."""
    wanted = netns.inode(name)
    if wanted is not None:
        for process in all_processes():
            if inode_of(process) == wanted:
                yield process


def inside(process: Process, name: str) -> bool:
    """Whether a process is in the network namespace that has the host's name now."""
    return inode_of(process) is not None and inode_of(process) == netns.inode(name)


def inode_of(process: Process) -> int | None:
    """Identity of a process's network namespace; None for one that has ended."""
    try:
        return Path(f"/proc/{process.pid}/ns/net").stat().st_ino
    except OSError:
        return None


def all_processes() -> Iterator[Process]:
    """Every process but this one and the dead."""
    for entry in os.listdir("/proc"):
        if entry.isdigit() and int(entry) != os.getpid() and (process := Process.of(int(entry))):
            yield process
