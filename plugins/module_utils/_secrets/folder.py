# SPDX-License-Identifier: GPL-3.0-or-later
"""A private CA in a folder of the controller, for command-line use: one file, so that it changes as a whole."""

from __future__ import annotations

import contextlib
import os
from typing import Optional

from .. import _disk, _files
from .._errors import EdgeError
from .._kube.errors import ApiError
from .._lock import locked


def path_of(folder: str, name: str) -> str:
    """Where the CA of that Secret is."""
    return os.path.join(folder, f"{name}.pem")


def read(path: str) -> Optional[bytes]:
    """The file's content; None where there is none.

    :raises EdgeError: FOLDER_UNSAFE, PATH_TAKEN.
    """
    _files.check_folder(os.path.dirname(path))
    data = _files.content(path)
    if data is not None and os.stat(path).st_mode & 0o077:
        raise EdgeError("others may read the CA's key", where=path, fix=f"chmod 600 {path}", code="FOLDER_UNSAFE")
    return data


def write(path: str, data: bytes, before: Optional[bytes]) -> None:
    """Put ``data`` in place of ``before``; others can never read it, and a killed run leaves the old or the new file.

    :raises EdgeError: BUSY. :raises ApiError: MODIFIED where another run was faster.
    """
    folder = os.path.dirname(path)
    with contextlib.suppress(FileExistsError):
        os.makedirs(folder, 0o700)
    with locked([folder]):
        if _files.content(path) != before:
            raise ApiError("another run was faster", status=0, where=path, code="MODIFIED")
        _disk.write(path, data, 0o600)
