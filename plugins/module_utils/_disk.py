# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads and writes files so that each is there whole and durable, or not at all.

Runs on targets with the standard library of Python >=3.9.
"""

from __future__ import annotations

import os
from collections.abc import Sequence


def read(path: str) -> str | None:
    """The text of a file, None where there is none."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
            return file.read()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None


def write(path: str, data: str | bytes, mode: int) -> None:
    """Replace a file whole and durable, or not at all. The temporary name matches no ``*.conf``; it never has more rights than ``mode``."""
    fresh = os.path.join(os.path.dirname(path), f".{os.path.basename(path)}.new")
    if os.path.lexists(fresh):
        os.unlink(fresh)
    try:
        create(fresh, data, mode)
        sync([fresh])
        os.replace(fresh, path)
    except OSError:
        if os.path.lexists(fresh):
            os.unlink(fresh)
        raise
    sync_folder(os.path.dirname(path))


def create(path: str, data: str | bytes, mode: int) -> None:
    """Write a file that isn't there yet, and the folders above it; not yet durable."""
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    add(path, data, mode)


def add(path: str, data: str | bytes, mode: int) -> None:
    """Write a file that isn't there yet (a link counts as there), in a folder that is; not yet durable."""
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        # whatever the umask is
        os.fchmod(file.fileno(), mode)
        file.write(data if isinstance(data, bytes) else data.encode("utf-8", "surrogateescape"))


def sync(paths: Sequence[str]) -> None:
    """Make files durable, and their names. After all are written the first of these calls does most of the work of the others."""
    for path in [*paths, *{os.path.dirname(path) for path in paths}]:
        _fsync(path)


def sync_folder(folder: str) -> None:
    """Make the names in a folder durable."""
    _fsync(folder)


def _fsync(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
