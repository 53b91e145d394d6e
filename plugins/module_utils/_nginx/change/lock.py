"""One run at a time on a configuration folder."""

from __future__ import annotations

import fcntl
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager

from ..._errors import EdgeError


@contextmanager
def locked(folder: str, timeout: float) -> Iterator[None]:
    """Hold a lock on the folder itself, which needs no file and ends with the process.

    :raises EdgeError: another run holds it longer than ``timeout`` seconds; with its process where that can be told.
    """
    if not os.path.isdir(folder):
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    deadline = time.monotonic() + timeout
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise EdgeError(
                        f"another run{_holder(descriptor)} has been changing it for {timeout:g} s", where=folder,
                        fix="Run again when that is done; nothing was touched",
                    ) from None  # fmt: skip
                time.sleep(0.1)
        yield
    finally:
        os.close(descriptor)


def _holder(descriptor: int) -> str:
    """The process that holds the lock, as far as the kernel tells."""
    inode = os.fstat(descriptor).st_ino
    try:
        with open("/proc/locks", encoding="ascii") as file:
            held = re.search(rf"^\d+: FLOCK +ADVISORY +WRITE (\d+) [0-9a-f]+:[0-9a-f]+:{inode} ", file.read(), re.MULTILINE)
    except OSError:
        return ""
    return f" (process {held[1]})" if held else ""
