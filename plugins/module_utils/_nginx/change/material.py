# SPDX-License-Identifier: GPL-3.0-or-later
"""Removes exported certificates and keys that nothing on the host has a use for any more."""

from __future__ import annotations

import contextlib
import os

from ... import _files


def there(path: str, folder: str) -> bool:
    """Whether something is at ``path`` that is below ``folder``, links followed."""
    return os.path.lexists(path) and os.path.realpath(path).startswith(os.path.realpath(folder).rstrip("/") + "/")


def remove(path: str, folder: str) -> None:
    """Remove a file below ``folder``, and the folders that are empty then.

    :raises EdgeError: where others could put something else in its place.
    """
    if not there(path, folder):
        return
    _files.check_folder(os.path.dirname(path))
    _files.remove_all([path])
    above = os.path.dirname(path)
    while above.startswith(folder.rstrip("/") + "/"):
        with contextlib.suppress(OSError):  # not empty
            os.rmdir(above)
        above = os.path.dirname(above)
