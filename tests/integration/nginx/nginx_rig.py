# SPDX-License-Identifier: GPL-3.0-or-later
"""Transactions on this machine's nginx with a main file of the test's."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from lab import apt
from plugins.module_utils._errors import EdgeError
from plugins.module_utils._nginx.change.generations import Store
from plugins.module_utils._nginx.change.installation import discover, processes
from plugins.module_utils._nginx.change.parts import files_alone, read
from plugins.module_utils._nginx.change.transaction import Outcome, Transaction
from tests.nginx_releases import nginx_binary, stream_module
from tests.ports import free_port


class Rig:
    """A configuration folder as Debian lays it out, and transactions on it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.conf = folder, folder / "conf"
        self.web, self.raw = free_port(), free_port()
        # others may run these tests at the same time: the confirmation's address is made from the name
        self.name = f"edge{os.getpid()}"
        (folder / "logs").mkdir()
        for name in ("conf.d", "modules"):
            (self.conf / name).mkdir(parents=True)
        self.main()

    def main(self, top: str = "include modules/*.conf;", end: str = "") -> None:
        """The main file; ``top`` and ``end`` stand outside of its blocks."""
        text = f"{stream_module(apt.host_release())}pid {self.folder}/pid; error_log {self.folder}/logs/error.log; worker_processes 1;\n"
        text += f"{top}\nevents {{ }}\n"
        (self.conf / "nginx.conf").write_text(f"{text}http {{ access_log off; include conf.d/*.conf; }}\n{end}\n")

    def files(self, said: str, raw: int = 0) -> list[dict[str, str]]:
        """An http server, and a server in the stream context, that say this."""
        http = f"server {{ listen 127.0.0.1:{self.web}; return 200 {said}; }}\n"
        return [{"path": "site.conf", "content": http}, {"path": "stream/raw.conf", "content": self.stream(said, raw)}]

    def stream(self, said: str, port: int = 0) -> str:
        return f"server {{ listen 127.0.0.1:{port or self.raw}; return {said}; }}\n"

    def http_only(self) -> list[dict[str, str]]:
        return self.files("plain")[:1]

    def transaction(self, step: Any = lambda _name: None, **options: Any) -> Transaction:
        nginx = discover(nginx_binary(), str(self.conf / "nginx.conf"), str(self.folder))
        return Transaction(Store(str(self.conf), self.name, step=step), nginx, self.name, **{"method": "signal", **options})

    def apply(self, files: list[dict[str, str]], **options: Any) -> Outcome:
        return self.transaction(**options).present(files_alone("default", files, [], "keep"))

    def run(self, list_name: str, *parts: dict[str, Any], absent: Sequence[str] = (), exclusive: bool = False, **options: Any) -> Outcome:
        """A run of a list."""
        return self.transaction(**options).present(read(list_name, parts, absent, exclusive))

    def part(self, name: str, said: str = "", **more: Any) -> dict[str, Any]:
        """A part that answers for its name with a text."""
        text = f"server {{ listen 127.0.0.1:{self.web}; server_name {name}; return 200 {said or name}; }}\n"
        claims = {f"{self.web}/{name}": f"host {name} on port {self.web}"}
        return {"name": name, "files": [{"path": f"route-{name}.conf", "content": text}], "claims": claims, **more}

    def get(self, name: str) -> str:
        """What the http server of this name answers; empty where nobody does."""
        try:
            with socket.create_connection(("127.0.0.1", self.web), timeout=60) as connection:
                connection.sendall(f"GET / HTTP/1.0\r\nHost: {name}\r\n\r\n".encode())
                return connection.makefile().read().rpartition("\n")[2]
        except OSError:
            return ""

    def refused(self, files: list[dict[str, str]], **options: Any) -> EdgeError:
        before = self.tree()
        with pytest.raises(EdgeError) as caught:
            self.apply(files, **options)
        assert self.tree() == before, "nothing was touched"
        return caught.value

    def said(self, port: int = 0) -> str:
        """What the stream context's server says; empty where nobody listens."""
        try:
            with socket.create_connection(("127.0.0.1", port or self.raw), timeout=60) as connection:
                return connection.makefile().read()
        except OSError:
            return ""

    def becomes(self, said: str) -> None:
        until = time.monotonic() + 60
        while self.said() != said:
            assert time.monotonic() < until, self.said()
            time.sleep(0.02)

    def tree(self) -> dict[str, str]:
        return {
            str(path.relative_to(self.conf)): os.readlink(path) if path.is_symlink() else path.read_text() if path.is_file() else "/"
            for path in sorted(self.conf.rglob("*"))
            if "state.json" not in path.name and "generations" not in path.parts
        }

    def kill(self) -> None:
        """End nginx with all its workers."""
        running = processes(str(self.folder / "pid"))
        if running.master:
            os.kill(running.master, signal.SIGTERM)
        until = time.monotonic() + 60
        while processes(str(self.folder / "pid")).master:
            assert time.monotonic() < until
            time.sleep(0.02)


def killed(rig: Rig, number: int, apply: Callable[[Callable[[str], None]], object]) -> str:
    """One transaction that SIGKILL ends at a step; the step's name, empty where it was over before.

    :param apply: takes what is to be called at each step.
    """
    reader, writer = multiprocessing.Pipe(duplex=False)
    child = os.fork()
    if not child:
        seen: list[str] = []

        def step(name: str) -> None:
            seen.append(name)
            if len(seen) == number:
                writer.send(name)
                os.kill(os.getpid(), signal.SIGKILL)

        try:
            apply(step)
        finally:
            os._exit(0)
    _pid, status = os.waitpid(child, 0)
    return str(reader.recv()) if os.WIFSIGNALED(status) else ""
