# SPDX-License-Identifier: GPL-3.0-or-later
"""Ports for servers that tests start."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import subprocess
import time
from pathlib import Path


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens at.

    Below the range from which Linux takes ports for outgoing connections, and for listeners that don't care: whoever works on this
    machine at the same time would sooner or later get it before its owner has bound it. Above it begin Kubernetes' NodePorts.
    """
    while True:
        port = random.SystemRandom().randrange(12000, 30000)
        with socket.socket() as sock, contextlib.suppress(OSError):
            sock.bind(("127.0.0.1", port))
            return port


_HELD: list[socket.socket] = []


def dead_port() -> int:
    """A port of 127.0.0.1 that refuses connections while this process lives: bound, so that nobody else gets it, and never listening."""
    held = socket.socket()
    held.bind(("127.0.0.1", free_port()))
    _HELD.append(held)
    return int(held.getsockname()[1])


def wait_for_port(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    """Until ``process``, and nobody else, listens."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        if _listens(process.pid, port):
            return
        if process.poll() is not None:
            break
        time.sleep(0.02)
    raise RuntimeError(f"nothing of ours listens at {port}: {log.read_text()[-3000:]}")


def _listens(pid: int, port: int) -> bool:
    """Whether one of the process's own sockets is a listener of that port."""
    with contextlib.suppress(OSError):
        rows = [line.split() for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
        inodes = {f"socket:[{row[9]}]" for row in rows if row[1].endswith(f":{port:04X}") and row[3] == "0A"}
        return any(os.readlink(each) in inodes for each in Path(f"/proc/{pid}/fd").iterdir())
    return False
