"""One mount namespace for everything that mounts: containerd, kubelet, pods.

In it the root is shared, as kubelet wants it; the machine's own mounts stay as they are. When the last process in it has
ended, every mount of the cluster is gone, so nothing stale outlives a killed lab.
"""

from __future__ import annotations

import os
from pathlib import Path

from . import build, processes


def entry() -> tuple[str, ...]:
    """Words that run a program in the namespace, which is made where there is none."""
    holder = alive() or start()
    return ("nsenter", f"--mount=/proc/{holder.pid}/ns/mnt", "--")


def alive() -> processes.Process | None:
    """A process that keeps the namespace: its holder, else any of the cluster's (pods outlive a killed holder)."""
    if holder := processes.running("mounts"):
        return holder
    own = os.readlink("/proc/self/ns/mnt")
    for name, process in processes.marked():
        if name in ("containerd", "kubelet", "mounts") and namespace(process) not in (own, "") and shared(process):
            return process
    return None


def start() -> processes.Process:
    """Make the namespace; mounts made on the machine later still arrive in it, none leaves it."""
    # A copy of a VM's network namespace here would keep it alive after its end.
    share = 'umount -R /run/netns 2>/dev/null; mount --make-rshared / && exec "$@"'
    daemon = processes.Daemon(
        name="mounts",
        argv=(str(build.path("pause")),),
        within=lambda: ("unshare", "--mount", "--propagation", "slave", "sh", "-c", share, "sh"),
        ready=lambda: "" if (process := processes.running("mounts")) and shared(process) else "its root is not shared yet",
    )
    daemon.start()
    daemon.wait(10)
    holder = processes.running("mounts")
    if holder is None:
        raise RuntimeError("the holder of the mount namespace ended")
    return holder


def namespace(process: processes.Process) -> str:
    """What mount namespace a process is in; empty where it is gone."""
    try:
        return os.readlink(f"/proc/{process.pid}/ns/mnt")
    except OSError:
        return ""


def shared(process: processes.Process) -> bool:
    """Whether the root of a process's namespace is the cluster's: shared, and another than ours."""
    if namespace(process) == os.readlink("/proc/self/ns/mnt"):
        return False
    try:
        lines = Path(f"/proc/{process.pid}/mountinfo").read_text().splitlines()
    except OSError:
        return False
    return any(words[4] == "/" and words[6].startswith("shared:") for words in map(str.split, lines))
