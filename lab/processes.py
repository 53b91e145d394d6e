# SPDX-License-Identifier: GPL-3.0-or-later
"""Daemons without systemd: started in sessions of their own, found again, and stopped by identity, never by name.

Every process of the lab carries its daemon's name in its environment (`EDGEMESH_LAB=<name>`), and so do its children.
A pid file adds when the process started and in which boot, so that a number that was given away again is never
signalled. The mark finds what a killed `up` started but had no time to write down.
"""

from __future__ import annotations

import hashlib
import json
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from plugins.module_utils._errors import EdgeError

from . import files, settings

MARK = "EDGEMESH_LAB"
LOG_LIMIT = 50 * 2**20  # bytes; looked at when a daemon starts
PIDS = settings.RUN / "pids"


def boot_id() -> str:
    """What tells this boot of the machine from any other."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


@dataclass(frozen=True)
class Process:
    """One process, told apart from a later one with the same number.

    :param started: clock ticks since boot.
    """

    pid: int
    started: int
    boot: str

    @classmethod
    def of(cls, pid: int) -> Process | None:
        """The process that has this number now; None where there is none, or only its remains."""
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            return None
        # The name in parentheses may hold anything, also spaces and parentheses.
        state, *fields = stat.rpartition(")")[2].split()
        return None if state in "ZX" else cls(pid, int(fields[18]), boot_id())

    def alive(self) -> bool:
        """Whether exactly this process still runs."""
        return Process.of(self.pid) == self

    def environment(self) -> dict[str, str]:
        """With what environment it was started; empty where that cannot be read."""
        try:
            entries = Path(f"/proc/{self.pid}/environ").read_bytes().split(b"\0")
        except OSError:
            return {}
        return dict(entry.decode(errors="replace").partition("=")[::2] for entry in entries if entry)

    def kill(self, number: signal.Signals = signal.SIGKILL, wait: float = 5) -> bool:
        """Signal it and wait up to ``wait`` seconds; return whether it is gone."""
        try:
            handle = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return True
        try:
            if not self.alive():
                return True
            signal.pidfd_send_signal(handle, number)
            # A handle becomes readable when its process has ended, also where that is nobody's child.
            select.select([handle], [], [], wait)
        except ProcessLookupError:
            return True
        finally:
            os.close(handle)
        return not self.alive()


def marked() -> Iterator[tuple[str, Process]]:
    """All processes of the lab, each with its daemon's name."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid() and (process := Process.of(int(entry.name))):
            name = process.environment().get(MARK)
            if name:
                yield name, process


@dataclass(frozen=True)
class Daemon:
    """A program that runs until it is stopped.

    :param configuration: files it reads at its start; when their content changes it is started anew.
    :param ready: returns why it isn't ready yet, or "".
    :param within: gives words to put before the program, e.g. nsenter; not part of what it is.
    """

    name: str
    argv: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    configuration: tuple[Path, ...] = ()
    ready: Callable[[], str] = lambda: ""
    within: Callable[[], tuple[str, ...]] = tuple

    @property
    def log(self) -> Path:
        """Where its output goes."""
        return settings.LOGS / f"{self.name}.log"

    @property
    def digest(self) -> str:
        """Changes when it must be started anew."""
        parts = [*self.argv, *(f"{name}={value}" for name, value in sorted(self.environment.items()))]
        digest = hashlib.sha256(json.dumps(parts).encode())
        for path in self.configuration:
            digest.update(path.read_bytes())
        return digest.hexdigest()[:16]

    def start(self) -> bool:
        """Start it unless it runs as it should; return whether it was started."""
        noted = files.read_json(PIDS / f"{self.name}.json")
        process = running(self.name)
        if process and noted.get("digest") == self.digest:
            return False
        stop(self.name)
        self.log.parent.mkdir(parents=True, exist_ok=True)
        PIDS.mkdir(parents=True, exist_ok=True)
        if self.log.exists() and self.log.stat().st_size > LOG_LIMIT:
            self.log.replace(self.log.with_suffix(".log.old"))
        with self.log.open("ab") as log:
            child = subprocess.Popen(
                [*self.within(), *self.argv],
                env={"PATH": os.environ.get("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"), "HOME": "/root", **self.environment, MARK: self.name},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                start_new_session=True,
            )
        started = Process.of(child.pid)
        if started is None:
            raise EdgeError(f"{self.name} ended at once", where=str(self.log), why=self.tail())
        files.write(PIDS / f"{self.name}.json", json.dumps({**asdict(started), "digest": self.digest}))
        return True

    def wait(self, seconds: float = 60) -> None:
        """Wait until it is ready.

        :raises EdgeError: it ended, or isn't ready in time; with the end of its log.
        """
        deadline = time.monotonic() + seconds
        while why := self.ready():
            if running(self.name) is None:
                raise EdgeError(f"{self.name} ended", where=str(self.log), why=self.tail(), fix="Read its log, then: python -m lab up")
            if time.monotonic() > deadline:
                raise EdgeError(
                    f"{self.name} is not ready after {seconds:g} s: {why}", where=str(self.log), why=self.tail(), fix="Read its log"
                )
            time.sleep(0.1)

    def tail(self) -> str:
        """The last two lines of its log."""
        if not self.log.exists():
            return ""
        return " / ".join(line.decode(errors="replace")[:300] for line in self.log.read_bytes()[-4000:].strip().splitlines()[-2:])


def running(name: str) -> Process | None:
    """The daemon's process, if it runs."""
    noted = files.read_json(PIDS / f"{name}.json")
    if not noted:
        return None
    process = Process(noted["pid"], noted["started"], noted["boot"])
    return process if process.alive() else None


def stop(name: str, seconds: float = 10) -> None:
    """End a daemon, politely at first, and whatever an interrupted start of it left."""
    process = running(name)
    if process and not process.kill(signal.SIGTERM, seconds):
        process.kill()
    for owner, stray in list(marked()):
        # Sessions of their own belong to the daemon; containerd's shims, which must outlive it, only carry its mark.
        if owner == name and leads_session(stray) and "shim" not in executable(stray):
            stray.kill()
    (PIDS / f"{name}.json").unlink(missing_ok=True)


def leads_session(process: Process) -> bool:
    """Whether it was started as a daemon rather than by one."""
    try:
        return os.getsid(process.pid) == process.pid
    except ProcessLookupError:
        return False


def executable(process: Process) -> str:
    """The path of its program; empty where that cannot be read."""
    try:
        return os.readlink(f"/proc/{process.pid}/exe")
    except OSError:
        return ""
