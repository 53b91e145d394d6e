# SPDX-License-Identifier: GPL-3.0-or-later
"""Proves that nginx took a configuration: new workers, and only they, accept and answer; the old ones drain."""

from __future__ import annotations

import os
import re
import socket
import time
from collections.abc import Iterable

from .installation import Processes, complaints, processes

#: So many answers in a row by the same workers: ones that crash and are replaced don't get there.
_ANSWERS = 4


class Logs:
    """What nginx logs from now on."""

    def __init__(self, paths: Iterable[str]) -> None:
        self._sizes = {path: _size(path) for path in paths}

    def serious(self) -> list[str]:
        """The lines of weight."""
        lines = []
        for path, size in self._sizes.items():
            try:
                with open(path, encoding="utf-8", errors="replace") as file:
                    file.seek(size)
                    lines += [line for line in complaints(file.read(65536)) if re.search(r"\[(emerg|alert|crit)\]", line)]
            except OSError:
                continue
        return list(dict.fromkeys(lines))


def wait(generation: str | None, listen: str, pid_file: str, before: Processes, logs: Logs, timeout: float) -> str:
    """Empty once new workers, and only they, accept and answer ``generation``; otherwise why not.

    :param listen: where the confirmation server is; empty where there is none.
    :param before: nginx's processes before the reload.
    """
    deadline = time.monotonic() + timeout
    same, seen = 0, frozenset[int]()
    while True:
        now = processes(pid_file)
        told = answer(listen) if listen else None
        if not now.master:
            why = "nginx isn't running"
        elif not now.workers:
            why = "none of its workers accepts connections"
        elif now.workers & before.workers:
            why = "its workers are still those of before the reload"
        elif listen and told != generation:
            why = f"its workers answer {told or 'nothing'} at {listen} instead of {generation}"
        else:
            why = ""
        said = logs.serious()
        # nobody is served while workers crash, so this must not wait for the deadline
        if ended := crashed(said, before):
            return ended
        same = 0 if why else same + 1 if now.workers == seen else 1
        seen = now.workers
        if same >= _ANSWERS:
            return ""
        if time.monotonic() > deadline or (why and gave_up(said)):
            return why or "its workers keep being replaced"
        time.sleep(0.05)


def answer(listen: str, timeout: float = 1) -> str | None:
    """What the confirmation server at ``address:port`` says, None when nobody answers there."""
    host, _colon, port = listen.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=timeout) as connection:
            connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
            received = b""
            while len(received) < 65536:
                part = connection.recv(4096)
                if not part:
                    break
                received += part
    except (OSError, ValueError):
        return None
    head, _gap, body = received.partition(b"\r\n\r\n")
    return body.decode("ascii", "replace").strip()[:80] if re.match(rb"HTTP/1\.[01] 200 ", head) else None


def crashed(lines: list[str], before: Processes) -> str:
    """Which of the new workers ended by a signal or gave up; old ones may do what they like while they drain."""
    ended = {int(pid) for line in lines for pid in re.findall(r"worker process (\d+) exited (?:on signal|with fatal code)", line)}
    new = ended - before.workers - before.draining
    return f"{len(new)} of its new workers crashed" if new else ""


def gave_up(lines: list[str]) -> bool:
    """Whether nginx logged that it won't take the configuration; it retries an address in use (98), which isn't the end."""
    return any("[emerg]" in line and not re.search(r"bind\(\) to \S+ failed \(98: ", line) for line in lines)


def _size(path: str) -> int:
    try:
        return os.path.getsize(path)
    except OSError:
        return 0
