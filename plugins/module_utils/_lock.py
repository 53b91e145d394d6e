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


@contextlib.contextmanager
def locked(folders: Iterable[str], patience: float | None = None) -> Iterator[None]:
    """Hold the lock of every folder that exists.

    :param patience: seconds to wait for another run; :data:`PATIENCE` by default.
    :raises EdgeError: BUSY: another run holds a folder longer than that; with its process where the kernel tells it.
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
        yield


def _taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _holder(descriptor: int) -> str:
    """The process that holds the lock, as far as the kernel tells."""
    inode = os.fstat(descriptor).st_ino
    try:
        with open("/proc/locks", encoding="ascii") as file:
            held = re.search(rf"^\d+: FLOCK +ADVISORY +WRITE (\d+) [0-9a-f]+:[0-9a-f]+:{inode} ", file.read(), re.MULTILINE)
    except OSError:
        return ""
    return f" (process {held[1]})" if held else ""


def _allow_open_files(number: int) -> None:
    """A thousand folders are as many descriptors, and 1024 is the usual soft limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = number + 64
    if soft != resource.RLIM_INFINITY and soft < needed:
        with contextlib.suppress(ValueError, OSError):  # then opening says so
            resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
