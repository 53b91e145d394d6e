# SPDX-License-Identifier: GPL-3.0-or-later
"""One change of the lab at a time."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from plugins.module_utils._errors import EdgeError

from . import settings

LOCK = settings.RUN / "lock"


@contextmanager
def held(command: str, say: Callable[[str], None], seconds: float = 1800) -> Iterator[None]:
    """Hold the lab's lock; wait for whoever else holds it, and say who that is.

    The kernel gives a lock back when its holder ends, however it ends.

    :param seconds: how long to wait.
    :raises EdgeError: somebody else held it all the time.
    """
    deadline = time.monotonic() + seconds
    said = ""
    while True:
        settings.RUN.mkdir(parents=True, exist_ok=True)
        with LOCK.open("a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = owner()
                if holder != said:
                    say(f"waiting for {holder}")
                    said = holder
                if time.monotonic() > deadline:
                    raise EdgeError("the lab is being changed by somebody else", why=holder, fix="Wait for it, or end it") from None
                time.sleep(0.5)
                continue
            # `down` removes the file, and we may have waited for the removed one.
            if not LOCK.exists() or os.fstat(file.fileno()).st_ino != LOCK.stat().st_ino:
                continue
            file.truncate(0)
            file.write(f"`lab {command}`, process {os.getpid()}, since {time.strftime('%H:%M:%S')}")
            file.flush()
            yield
            return


def owner() -> str:
    """Who holds the lock, in words; "" if nobody does."""
    try:
        with LOCK.open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return file.read() or "another command"
    except FileNotFoundError:
        pass
    return ""
