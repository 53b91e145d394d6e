# SPDX-License-Identifier: GPL-3.0-or-later
"""One run at a time on a folder: the lock is on the folder itself, which needs no file and ends with the process.

Runs on targets with the standard library of Python >=3.9.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import resource
import time
from collections.abc import Iterable, Iterator

from ._errors import EdgeError

#: seconds that another run on the same folders may take
PATIENCE = 60.0
#: An open file without a place on the disk has a name that begins so and tells for whom the lock is held; it ends with the process too.
_SAID = "edgemesh: "


@contextlib.contextmanager
def locked(folders: Iterable[str], patience: float | None = None, who: str = "") -> Iterator[None]:
    """Hold the lock of every folder that exists.

    :param patience: seconds to wait for another run; :data:`PATIENCE` by default.
    :param who: for whom it is held, as those are told that wait in vain: ``list shop``.
    :raises EdgeError: BUSY: another run holds a folder longer than that; with for whom, its process and since when, as far as it is known.
    """
    folders = sorted(set(folders))  # in one order, so that two runs can't wait for each other
    patience = PATIENCE if patience is None else patience
    deadline = time.monotonic() + patience
    _allow_open_files(len(folders))
    with contextlib.ExitStack() as held:
        for folder in folders:
            try:
                descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            except (FileNotFoundError, NotADirectoryError):
                continue
            held.callback(os.close, descriptor)
            while not _taken(descriptor):
                if time.monotonic() > deadline:
                    raise EdgeError(
                        f"another run{_holder(descriptor)} has been changing the folder for {patience:g} s",
                        where=folder,
                        fix="Wait for it to end, or end it; then run the task again",
                        code="BUSY",
                    )
                time.sleep(0.02)
        with contextlib.suppress(OSError, AttributeError):  # a kernel or a libc without it: the holder has no name then
            held.callback(os.close, os.memfd_create(f"{_SAID}{who}{' ' if who else ''}since {time.strftime('%Y-%m-%d %H:%M:%S %z')}"[:200]))
        yield


def _taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _holder(descriptor: int) -> str:
    """The process that holds the lock, for whom and since when, as far as the kernel tells."""
    inode = os.fstat(descriptor).st_ino
    try:
        with open("/proc/locks", encoding="ascii") as file:
            held = re.search(rf"^\d+: FLOCK +ADVISORY +WRITE (\d+) [0-9a-f]+:[0-9a-f]+:{inode} ", file.read(), re.MULTILINE)
    except OSError:
        return ""
    return f" ({', '.join([f'process {held[1]}', *_told(held[1])])})" if held else ""


def _told(process: str) -> list[str]:
    """For whom the process holds it and since when, where it says so."""
    folder = f"/proc/{process}/fd"
    with contextlib.suppress(OSError):
        for name in os.listdir(folder):
            with contextlib.suppress(OSError):
                target = os.readlink(os.path.join(folder, name))
                if target.startswith(f"/memfd:{_SAID}"):
                    return [target[len(f"/memfd:{_SAID}") :].replace(" (deleted)", "")]
    return []


def _allow_open_files(number: int) -> None:
    """A thousand folders are as many descriptors, and 1024 is the usual soft limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = number + 64
    if soft != resource.RLIM_INFINITY and soft < needed:
        with contextlib.suppress(ValueError, OSError):  # then opening says so
            resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
