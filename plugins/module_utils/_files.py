# SPDX-License-Identifier: GPL-3.0-or-later
"""Where key files may lie, what is there, and folders for them; they are written by :mod:`._file_set`.

Runs on targets with the standard library of Python >=3.9.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import shutil
import stat
from typing import Any, Optional

from . import _pem
from ._disk import add, sync_folder
from ._errors import EdgeError
from ._lock import locked

#: in folders that we made, so that we remove no others
MARKER = ".edgemesh-made"
_MARKER_TEXT = b"This folder was made by edgemesh.nginx_istio and goes with the last file that it exported here.\n"


def checked_path(path: str) -> str:
    """``path`` if it is absolute, without ``..`` and control characters.

    :raises EdgeError: PATH_INVALID.
    """
    if not path.startswith("/") or path != os.path.normpath(path) or path == "/" or not path.isprintable() or len(path) > 4000:
        raise EdgeError(f"{path[:200]!r} is not a clean absolute path", fix="Write it without .., double slashes or control characters",
                        code="PATH_INVALID")  # fmt: skip
    return path


def check_folder(path: str) -> None:
    """Refuse a folder in which, or above which, somebody but root and us can put things in our place.

    Folders that don't exist yet are fine: they will be ours. Symbolic links on the way are judged by their owner, and so is where
    they lead.

    :raises EdgeError: FOLDER_UNSAFE.
    """
    _walk(path)
    if os.path.realpath(path) != path:
        _walk(os.path.realpath(path))


def _walk(path: str) -> None:
    trusted = {0, os.geteuid()}
    parts = path.split("/")
    for depth in range(1, len(parts) + 1):
        here = "/".join(parts[:depth]) or "/"
        try:
            found = os.lstat(here)
        except FileNotFoundError:
            return
        if found.st_uid not in trusted:
            raise EdgeError(
                "the folder belongs to another user, who could replace the files in it",
                where=here,
                fix="Choose a folder whose parents belong to root",
                code="FOLDER_UNSAFE",
            )
        if stat.S_ISLNK(found.st_mode):
            continue
        if not stat.S_ISDIR(found.st_mode):
            raise EdgeError("this is not a folder", where=here, code="FOLDER_UNSAFE")
        loose = found.st_mode & (0o002 if found.st_gid == 0 else 0o022)
        # in a sticky folder (/tmp) others can't replace our folder, but they could put a file where ours shall be
        if loose and (here == path or not found.st_mode & stat.S_ISVTX):
            raise EdgeError(
                "others can write to the folder, so they could replace a key or read a new one",
                where=here,
                fix=f"Remove that right (chmod go-w {here}) or choose another folder",
                code="FOLDER_UNSAFE",
            )


def content(path: str) -> Optional[bytes]:
    """What is in a regular file; None where there is none (also for a symbolic link, which is replaced, never followed).

    :raises EdgeError: PATH_TAKEN where something else is.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if os.path.lexists(path) and not os.path.islink(path):
            raise EdgeError("the existing file can't be read", where=path, why=str(error.strerror), code="PATH_TAKEN") from None
        return None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise EdgeError("the path exists and is not a regular file", where=path, code="PATH_TAKEN")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read()
    finally:
        os.close(descriptor)


def digest(data: Optional[bytes]) -> str:
    """SHA-256 as hex; "" for no file."""
    return "" if data is None else hashlib.sha256(data).hexdigest()


def fingerprints(data: bytes) -> list[str]:
    """SHA-256 of each certificate in PEM text; [] where one of them is no base64."""
    with contextlib.suppress(ValueError):
        return [hashlib.sha256(der).hexdigest() for der in _pem.der(data.decode("latin-1"))]
    return []


def shown(path: str, data: Optional[bytes]) -> dict[str, Any]:
    """A file for a diff: what kind it is, its owner and mode, and the certificates in it; never its content."""
    if data is None:
        return {"state": "link" if os.path.islink(path) else "absent"}
    found = os.lstat(path)
    facts: dict[str, Any] = {"state": "file", "mode": f"{stat.S_IMODE(found.st_mode):04o}", "owner": found.st_uid, "group": found.st_gid}
    certificates = fingerprints(data)
    return {**facts, "certificates_sha256": certificates} if certificates else facts


def make_folders(path: str, mode: int = 0o755, owner: int = -1, group: int = -1) -> list[str]:
    """Make ``path`` and what is missing above it (0755), marked as ours, in one instant. Returns what was made, topmost first."""
    while not os.path.isdir(path):
        missing = [path]
        while not os.path.isdir(os.path.dirname(missing[-1])):
            missing.append(os.path.dirname(missing[-1]))
        missing.reverse()
        with locked({os.path.dirname(missing[0])}):
            if os.path.isdir(missing[0]):
                continue  # another run was faster
            fresh = beside(missing[0], "new", secrets.token_hex(8))
            try:
                for folder in missing:
                    last = folder == path
                    made = fresh + folder[len(missing[0]) :]
                    os.mkdir(made, 0o700)
                    add(os.path.join(made, MARKER), _MARKER_TEXT, 0o644)
                    if last:
                        os.chown(made, owner, group)
                    os.chmod(made, mode if last else 0o755)
                os.rename(fresh, missing[0])
            except BaseException:
                shutil.rmtree(fresh, ignore_errors=True)
                raise
            sync_folder(os.path.dirname(missing[0]))
        return missing
    return []


def remove_all(paths: list[str]) -> None:
    """Remove the files, and the folders that we made for them and that are empty then."""
    for path in paths:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            os.unlink(path)
    for folder in sorted({os.path.dirname(path) for path in paths}, key=len, reverse=True):
        remove_folder(folder)


def remove_folder(folder: str) -> None:
    """Remove a folder that we made, and such folders above it, while nothing is left in them."""
    while folder != "/":
        with contextlib.suppress(FileNotFoundError, NotADirectoryError), locked({folder}):
            if os.listdir(folder) != [MARKER]:
                return
            # under its own name a folder that has lost its marker to a kill would be nobody's
            gone = beside(folder, "old", secrets.token_hex(8))
            os.rename(folder, gone)
            shutil.rmtree(gone)
        folder = os.path.dirname(folder)


def beside(path: str, kind: str, ident: str) -> str:
    """The name of our own that a change gives to what replaces ``path`` (new), or to what was there (old)."""
    folder, name = os.path.split(path)
    return os.path.join(folder, f".{name[:200]}.edgemesh-{kind}-{ident}")
