# SPDX-License-Identifier: GPL-3.0-or-later
"""One mount namespace for everything that mounts: containerd, kubelet, pods.

In it the root is shared, as kubelet wants it; the machine's own mounts stay as they are. When the last process in it has
ended, every mount of the cluster is gone, so nothing stale outlives a killed lab.
"""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path

from . import build, files, processes, settings

# Folders that these programs use and that can't be chosen. In the namespace other folders lie over them, so that the
# machine's own containerd, or what it knows of an earlier kubelet, is neither seen nor changed.
FIXED = ("/run/containerd", "/var/lib/cni", "/var/lib/kubelet", "/var/log/containers")
PRIVATE = settings.RUN / "private"
MADE = settings.STATE / "folders.json"


def entry() -> tuple[str, ...]:
    """Words that run a program in the namespace, which is made where there is none."""
    holder = alive() or start()
    return ("nsenter", f"--mount=/proc/{holder.pid}/ns/mnt", "--")


def alive() -> processes.Process | None:
    """A process that keeps the namespace: its holder, else any of the cluster's (pods outlive a killed holder)."""
    if holder := processes.running("mounts"):
        return holder
    return next((process for name, process in processes.marked() if name in ("containerd", "kubelet", "mounts") and shared(process)), None)


def start() -> processes.Process:
    """Make the namespace; mounts made on the machine later may still arrive in it, none leaves it."""
    cover = [(PRIVATE / folder[1:], folder) for folder in FIXED]
    note_folders()
    for own, folder in cover:
        own.mkdir(parents=True, exist_ok=True)
        Path(folder).mkdir(parents=True, exist_ok=True)
    script = "; ".join(
        (
            "set -e",
            # A copy of a VM's network namespace here would keep it alive after its end.
            "umount -R /run/netns 2>/dev/null || true",
            "mount --make-rshared /",
            *(shlex.join(["mount", "--bind", str(own), folder]) for own, folder in cover),
            'exec "$@"',
        )
    )
    program = str(build.path("pause"))
    daemon = processes.Daemon(
        name="mounts",
        argv=(program,),
        within=lambda: ("unshare", "--mount", "--propagation", "slave", "sh", "-c", script, "sh"),
        ready=lambda: "" if (process := processes.running("mounts")) and processes.executable(process) == program else "not yet",
    )
    daemon.start()
    daemon.wait(10)
    holder = processes.running("mounts")
    if holder is None:
        raise RuntimeError("the holder of the mount namespace ended")
    return holder


def note_folders() -> None:
    """Remember which of the fixed folders are ours to remove."""
    made = set(files.read_json(MADE) or ())
    files.write(MADE, json.dumps(sorted(made | {folder for folder in FIXED if not Path(folder).exists()})))


def remove_folders() -> None:
    """Remove the fixed folders that weren't there before; on the machine they are empty."""
    for folder in files.read_json(MADE) or ():
        try:
            Path(folder).rmdir()
        except OSError:  # somebody else uses it by now
            continue


def shared(process: processes.Process) -> bool:
    """Whether the root of a process's namespace is the cluster's: shared, and another than ours."""
    try:
        if os.readlink(f"/proc/{process.pid}/ns/mnt") == os.readlink("/proc/self/ns/mnt"):
            return False
        lines = Path(f"/proc/{process.pid}/mountinfo").read_text().splitlines()
    except OSError:
        return False
    return any(words[4] == "/" and words[6].startswith("shared:") for words in map(str.split, lines))
