# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that change as one set: never readable by others for an instant, and all new or all old, also after a kill at any moment.

A change goes like this, under a lock on all folders:

1. every new file is made beside its place with mode 0600, given its owner, mode and label, and synced;
2. what is there now gets a second name, so that it can come back as it was, to the inode;
3. a journal in the first folder says which files are concerned; the other folders point to it;
4. the new files are renamed into place: this takes microseconds, and is all that readers could ever see half done;
5. the journal goes. From here on the new set counts, before it the old one.

A run that finds a journal puts the old set back before it does anything else, and one that finds other names of ours removes them.
Runs on targets with the standard library of Python >=3.9.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shutil
import stat
from collections.abc import Callable, Mapping
from typing import Any, Optional

from ._disk import add, sync, sync_folder
from ._errors import EdgeError
from ._files import beside, check_folder
from ._lock import locked

_JOURNAL = ".edgemesh-set-{}"
_OURS = re.compile(r"\.edgemesh-set-[0-9a-f]{16}|\..+\.edgemesh-(new|old)-[0-9a-f]{16}")


def write_all(contents: Mapping[str, bytes], finish: Callable[[str, str], None], backups: Optional[Mapping[str, str]] = None) -> None:
    """Put every content at its path, or leave all as they were.

    :param finish: gives ``(fresh, path)`` the owner, mode and label that the file at ``path`` shall have.
    :param backups: path -> a name in the same folder under which what was there stays.
    """
    ident = secrets.token_hex(8)
    with locked({os.path.dirname(path) for path in contents}):
        entries: dict[str, Any] = {path: {"existed": os.path.lexists(path), "backup": (backups or {}).get(path)} for path in contents}
        try:
            for path, data in contents.items():
                # 0600 is never more than the mode asked for, while that mode may be too much until the owner is right
                add(beside(path, "new", ident), data, 0o600)
                finish(beside(path, "new", ident), path)
            sync([beside(path, "new", ident) for path in contents])
            _keep_old(entries, ident)
            for path, each in entries.items():
                if each["backup"]:
                    os.link(path, each["backup"], follow_symlinks=False)
            for path in entries:
                os.rename(beside(path, "new", ident), path)
        except BaseException as failure:
            try:
                _put_back(entries, ident)
            except OSError as error:
                raise EdgeError(
                    "the files can't be written, and the roll-back failed too",
                    where=str(error.filename or ""),
                    why=str(error.strerror),
                    fix="Correct that and run the task again, which restores the previous files",
                    code="ROLLBACK_FAILED",
                ) from failure
            raise
        _conclude(entries, ident)


def _keep_old(entries: Mapping[str, Any], ident: str) -> None:
    for path, each in entries.items():
        if each["existed"]:
            os.link(path, beside(path, "old", ident), follow_symlinks=False)
    home, *others = sorted({os.path.dirname(path) for path in entries})
    journal = os.path.join(home, _JOURNAL.format(ident))
    for folder in others:
        os.symlink(journal, os.path.join(folder, _JOURNAL.format(ident)))
    for folder in others:
        sync_folder(folder)
    add(journal, json.dumps(entries), 0o600)
    sync([journal])


def _put_back(entries: Mapping[str, Any], ident: str) -> None:
    for path, each in entries.items():
        old = beside(path, "old", ident)
        if os.path.lexists(old):
            os.rename(old, path)
        elif not each["existed"] and not os.path.lexists(beside(path, "new", ident)):
            _unlink(path)  # the new file was here already
        if each["backup"] and _same(each["backup"], path):
            _unlink(each["backup"])
    _conclude(entries, ident)


def _conclude(entries: Mapping[str, Any], ident: str) -> None:
    """Keep the new files: sync them, end the journal, then remove the rest of ours."""
    folders = [folder for folder in sorted({os.path.dirname(path) for path in entries}) if os.path.isdir(folder)]
    for folder in folders:
        sync_folder(folder)
    for number, folder in enumerate(folders):
        _unlink(os.path.join(folder, _JOURNAL.format(ident)))
        if number == 0:
            sync_folder(folder)
    for path in entries:
        for kind in ("new", "old"):
            _unlink(beside(path, kind, ident))


def recover(paths: list[str]) -> None:
    """Restore sets that a killed run left half changed, and remove its other remains in or above these folders."""
    for folder in _above(paths):
        for journal in {os.path.realpath(each) for each in _left(folder) if _journal(each)}:
            _recover(journal)
        if _left(folder):
            with locked({folder}):  # what a run that is still at it has there, is gone once we have the lock
                for each in _left(folder):
                    if os.path.isdir(each) and not os.path.islink(each):
                        shutil.rmtree(each)
                    else:
                        _unlink(each)


def _recover(journal: str) -> None:
    entries = _read(journal)
    folders = {os.path.dirname(path) for path in entries}
    for folder in folders:
        check_folder(folder)
    with locked(folders):
        if os.path.lexists(journal):
            _put_back(entries, journal[-16:])


def _read(journal: str) -> dict[str, Any]:
    """Its entries; {} where renaming had not begun."""
    check_folder(os.path.dirname(journal))
    try:
        with open(os.open(journal, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), encoding="utf-8") as file:
            facts = os.fstat(file.fileno())
            # in a folder where others can add files it might be a link to a file that is ours, but no journal
            if not stat.S_ISREG(facts.st_mode) or facts.st_uid != os.geteuid() or facts.st_nlink != 1 or facts.st_mode & 0o077:
                return {}
            return dict(json.load(file))
    except (FileNotFoundError, ValueError):  # gone meanwhile; not complete
        return {}


def _above(paths: list[str]) -> list[str]:
    """The paths' folders and all above them, where they exist."""
    found: set[str] = set()
    for path in paths:
        while path != "/" and os.path.dirname(path) not in found:
            path = os.path.dirname(path)
            found.add(path)
    return sorted(folder for folder in found if os.path.isdir(folder))


def _left(folder: str) -> list[str]:
    """What has a name and an owner like ours."""
    result = []
    with contextlib.suppress(OSError):
        for each in os.scandir(folder):
            if _OURS.fullmatch(each.name) and each.stat(follow_symlinks=False).st_uid == os.geteuid():
                result.append(each.path)
    return result


def _journal(path: str) -> bool:
    return os.path.basename(path).startswith(_JOURNAL.format(""))


def _same(one: str, two: str) -> bool:
    with contextlib.suppress(OSError):
        return os.path.samestat(os.lstat(one), os.lstat(two))
    return False


def _unlink(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
