"""Files with key material, written as one set: never readable by others for an instant, all changed or none.

Runs on targets with the standard library of Python >=3.9.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import hashlib
import os
import re
import secrets
import stat
from collections.abc import Callable, Iterator
from typing import Any, Optional

from ._errors import EdgeError

#: in folders that we made, so that we remove no others
MARKER = ".edgemesh-made"
_MARKER_TEXT = b"This folder was made by edgemesh.nginx_istio and goes with the last file that it exported here.\n"
_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----")


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
                "the folder belongs to another user, who could replace what is written there",
                where=here,
                fix="Choose a folder below ones that belong to root",
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
                fix=f"Take that right away (chmod go-w {here}) or choose another folder",
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
            raise EdgeError("what is there can't be read", where=path, why=str(error.strerror), code="PATH_TAKEN") from None
        return None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise EdgeError("what is there is not a regular file", where=path, code="PATH_TAKEN")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read()
    finally:
        os.close(descriptor)


def digest(data: Optional[bytes]) -> str:
    """SHA-256 as hex; "" for no file."""
    return "" if data is None else hashlib.sha256(data).hexdigest()


def fingerprints(data: bytes) -> list[str]:
    """SHA-256 of each certificate in PEM text."""
    return [hashlib.sha256(base64.b64decode(b"".join(body.split()))).hexdigest() for body in _CERTIFICATE.findall(data)]


def shown(path: str, data: Optional[bytes]) -> dict[str, Any]:
    """A file for a diff: what kind it is, its owner and mode, and the certificates in it; never its content."""
    if data is None:
        return {"state": "link" if os.path.islink(path) else "absent"}
    found = os.lstat(path)
    facts: dict[str, Any] = {"state": "file", "mode": f"{stat.S_IMODE(found.st_mode):04o}", "owner": found.st_uid, "group": found.st_gid}
    certificates = fingerprints(data)
    return {**facts, "certificates_sha256": certificates} if certificates else facts


def make_folders(path: str, mode: int = 0o755, owner: int = -1, group: int = -1) -> list[str]:
    """Make ``path`` and what is missing above it (0755), marked as ours. Returns what was made, topmost first."""
    missing = []
    while not os.path.isdir(path):
        missing.append(path)
        path = os.path.dirname(path)
    for depth, folder in enumerate(reversed(missing), 1):
        last = depth == len(missing)
        os.mkdir(folder, 0o700)
        with open(os.open(os.path.join(folder, MARKER), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644), "wb") as file:
            file.write(_MARKER_TEXT)
        if last:
            os.chown(folder, owner, group)
        os.chmod(folder, mode if last else 0o755)
    return missing[::-1]


def write_all(contents: dict[str, bytes], finish: Callable[[str, str], None]) -> None:
    """Put every content at its path, or leave all as they were.

    Each file is made beside its target with mode 0600, given its owner, mode and label by ``finish(temporary, target)``, and synced
    to disk; only when all are ready are they renamed into place, and put back if one of these renames fails.
    """
    staged: dict[str, str] = {}
    with _locked({os.path.dirname(path) for path in contents}):
        try:
            for path, data in contents.items():
                staged[path] = fresh = _beside(path, "new")
                descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
                with os.fdopen(descriptor, "wb") as file:
                    file.write(data)
                    file.flush()
                    finish(fresh, path)
                    os.fsync(descriptor)
            _swap(staged)
        finally:
            for fresh in staged.values():
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(fresh)


def _swap(staged: dict[str, str]) -> None:
    kept: dict[str, str] = {}
    done: list[str] = []
    try:
        for path in staged:
            if os.path.lexists(path):
                old = _beside(path, "old")
                os.link(path, old, follow_symlinks=False)
                kept[path] = old
        for path, fresh in staged.items():
            os.rename(fresh, path)
            done.append(path)
    except BaseException:
        for path in done:
            if path in kept:
                os.rename(kept[path], path)
            else:
                os.unlink(path)
        raise
    finally:
        for old in kept.values():
            with contextlib.suppress(FileNotFoundError):
                os.unlink(old)
        for folder in {os.path.dirname(path) for path in staged}:
            _sync_folder(folder)


def sweep(paths: list[str]) -> None:
    """Remove what a killed run left beside ``paths``."""
    for folder in sorted({os.path.dirname(path) for path in paths}):
        names = "|".join(re.escape(os.path.basename(path)[:200]) for path in paths if os.path.dirname(path) == folder)
        leftover = re.compile(rf"\.({names})\.edgemesh-(new|old)-[0-9a-f]{{16}}")
        try:
            if not any(leftover.fullmatch(entry) for entry in os.listdir(folder)):
                continue
        except OSError:
            continue
        with _locked({folder}):  # what a run that is still at it has there, is gone once we have the lock
            for entry in os.listdir(folder):
                if leftover.fullmatch(entry):
                    os.unlink(os.path.join(folder, entry))


def remove_all(paths: list[str]) -> None:
    """Remove the files, and the folders that we made for them and that are empty then."""
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
    for folder in sorted({os.path.dirname(path) for path in paths}, key=len, reverse=True):
        remove_folder(folder)


def remove_folder(folder: str) -> None:
    """Remove a folder that we made, and such folders above it, while nothing is left in them."""
    while folder != "/":
        try:
            if os.listdir(folder) != [MARKER]:
                return
            os.unlink(os.path.join(folder, MARKER))
            os.rmdir(folder)
        except FileNotFoundError:
            pass
        folder = os.path.dirname(folder)


def _beside(path: str, kind: str) -> str:
    folder, name = os.path.split(path)
    return os.path.join(folder, f".{name[:200]}.edgemesh-{kind}-{secrets.token_hex(8)}")


@contextlib.contextmanager
def _locked(folders: set[str]) -> Iterator[None]:
    """Two runs on the same folders go one after the other."""
    descriptors = []
    try:
        for folder in sorted(folders):
            descriptors.append(os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
            fcntl.flock(descriptors[-1], fcntl.LOCK_EX)
        yield
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def _sync_folder(folder: str) -> None:
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
