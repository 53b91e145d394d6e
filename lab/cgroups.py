# SPDX-License-Identifier: GPL-3.0-or-later
"""The parent of all pods' control groups, in every hierarchy: by it pods are found when nothing else knows them any more."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

from . import settings
from .processes import Process

CONTROLLERS = {"cpu", "cpuset", "memory", "pids"}


def hierarchies() -> list[Path]:
    """Where control groups are mounted: several with version 1, one with version 2."""
    lines = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    return [Path(words[1]) for words in lines if words[2] in ("cgroup", "cgroup2")]


def roots() -> list[Path]:
    """Our own group in each hierarchy."""
    return [hierarchy / settings.CGROUP for hierarchy in hierarchies()]


def make() -> None:
    """Make our group everywhere; kubelet wants to find it."""
    for root in roots():
        root.mkdir(exist_ok=True)
        delegate(root.parent)
        for name in ("cpuset.cpus", "cpuset.mems"):
            # In version 1 a new group has no processor at all until somebody says which.
            own, parent = root / name, root.parent / name
            if own.exists() and parent.exists() and not own.read_text().strip():
                own.write_text(parent.read_text())


def delegate(parent: Path) -> None:
    """In version 2, give a group's children the controllers that it has."""
    control = parent / "cgroup.subtree_control"
    if control.exists():
        lacking = set((parent / "cgroup.controllers").read_text().split()) & CONTROLLERS - set(control.read_text().split())
        if lacking:
            control.write_text(" ".join(f"+{name}" for name in sorted(lacking)))


def processes() -> Iterator[Process]:
    """Every process of every pod."""
    seen = set()
    for root in roots():
        for folder, _, files in os.walk(root):
            if "cgroup.procs" in files:
                try:
                    seen |= set(Path(folder, "cgroup.procs").read_text().split())
                except OSError:  # removed meanwhile
                    continue
    for pid in seen:
        if process := Process.of(int(pid)):
            yield process


def kill(seconds: float = 10) -> None:
    """End every process of every pod."""
    deadline = time.monotonic() + seconds
    while found := list(processes()):
        for process in found:
            process.kill(wait=0)
        if time.monotonic() > deadline:
            return
        time.sleep(0.02)


def remove(seconds: float = 5) -> None:
    """Remove our groups; the kernel needs a moment after the last process."""
    deadline = time.monotonic() + seconds
    while any(root.exists() for root in roots()) and time.monotonic() < deadline:
        for root in roots():
            for folder, _, _ in os.walk(root, topdown=False):
                try:
                    Path(folder).rmdir()
                except OSError:
                    continue
        time.sleep(0.02)
