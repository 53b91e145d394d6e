# SPDX-License-Identifier: GPL-3.0-or-later
"""Sees what plays do on this machine while they run, and what they leave: command lines, the system log, files."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple


class Watcher(threading.Thread):
    """Runs from its ``with`` to the end of the block."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.done = threading.Event()

    def __enter__(self):  # type: ignore[no-untyped-def]
        self.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self.done.set()
        self.join()


class CommandLines(Watcher):
    """Every process's command line: the kernel tells of each program that starts, however short it lives."""

    PROC, LISTEN, EXEC = 1, 1, 2

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()
        self.started = 0
        #: more programs started than could be looked at
        self.lost = False
        self.events = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, 11)  # NETLINK_CONNECTOR
        self.events.setsockopt(socket.SOL_SOCKET, 33, 1 << 24)  # SO_RCVBUFFORCE
        self.events.bind((0, self.PROC))
        subscribe = struct.pack("=IIIIHHI", self.PROC, 1, 0, 0, 4, 0, self.LISTEN)
        self.events.send(struct.pack("=IHHII", 16 + len(subscribe), 3, 0, 0, 0) + subscribe)
        self.events.settimeout(0.2)

    def run(self) -> None:
        while not self.done.is_set():
            try:
                what, _cpu, _time, pid = struct.unpack_from("=IIQI", self.events.recv(4096), 36)
            except TimeoutError:
                continue
            except OSError as error:
                self.lost = error.errno == errno.ENOBUFS
                break
            if what == self.EXEC:
                self.started += 1
                with contextlib.suppress(OSError):
                    self.seen.add(Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        self.events.close()

    @property
    def text(self) -> str:
        return "\n".join(self.seen)


class SystemLog(Watcher):
    """/dev/log, where modules log what they were called with; only where nobody listens there already."""

    PATH = Path("/dev/log")

    def __init__(self) -> None:
        super().__init__()
        self.text = ""
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.listener.settimeout(0.2)
        self.listener.bind(str(self.PATH))
        self.PATH.chmod(0o666)

    @classmethod
    def somebody_listens(cls) -> bool:
        """What a killed run left there is removed."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
            try:
                probe.connect(str(cls.PATH))
            except FileNotFoundError:
                return False
            except ConnectionRefusedError:
                cls.PATH.unlink()
                return False
            return True

    def run(self) -> None:
        while not self.done.is_set():
            with contextlib.suppress(TimeoutError):
                self.text += self.listener.recv(1 << 20).decode(errors="replace")

    def __exit__(self, *exception: object) -> None:
        super().__exit__(*exception)
        self.listener.close()
        self.PATH.unlink()


class Seen(NamedTuple):
    """A file at one moment, and the folder it was in."""

    path: str
    folder_mode: int
    folder_owner: int
    text: str


class Files(Watcher):
    """Every file that is in these folders at any time, however deep: looked for thirty times a second; a module runs for longer."""

    def __init__(self, *roots: Path, ignore: tuple[Path, ...] = ()) -> None:
        super().__init__()
        self.roots, self.ignore = roots, {str(each) for each in ignore}
        self.seen: dict[tuple[str, int, int, int], Seen] = {}

    def run(self) -> None:
        while not self.done.is_set():
            self.look()
            time.sleep(0.03)

    def look(self) -> set[tuple[str, int, int, int]]:
        """What is there now."""
        now = set()
        for root in self.roots:
            for folder, _folders, names in os.walk(root):
                for path in (os.path.join(folder, name) for name in names):
                    with contextlib.suppress(OSError):
                        facts = os.lstat(path)
                        if path in self.ignore or not stat.S_ISREG(facts.st_mode):
                            continue
                        found = (path, facts.st_ino, facts.st_mtime_ns, facts.st_size)
                        now.add(found)
                        if found not in self.seen:
                            around = os.lstat(folder)
                            self.seen[found] = Seen(
                                path, stat.S_IMODE(around.st_mode), around.st_uid, Path(path).read_text(errors="replace")
                            )
        return now

    def left(self) -> list[Seen]:
        """What is there at the end."""
        return [self.seen[each] for each in self.look()]


def changed_since(moment: float) -> Iterator[tuple[Path, str]]:
    """Files where programs forget things, whoever's they are, that have been written since; but for large ones."""
    folders = [each for each in (Path("/tmp"), Path("/var/tmp"), Path("/dev/shm"), Path.home() / ".ansible") if each.is_dir()]
    command = ["find", *folders, "-xdev", "-type", "f", "-size", "-1024k", "-newermt", f"@{moment - 1:.0f}", "-print0"]
    for path in subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False).stdout.decode().split("\0"):
        with contextlib.suppress(OSError):
            yield Path(path), Path(path).read_text(errors="replace")
