# SPDX-License-Identifier: GPL-3.0-or-later
"""What a user asks for, checked: files, the material that they refer to, the default site's fate; and how a generation records it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from ... import _values as values
from ..._errors import EdgeError

#: Part of every digest: raise it when the layout of a generation changes, so that the next run makes a new one.
_FORMAT = "1"
#: Files of ours in a generation's folder: the confirmation server, and the manifest.
MARKER, MANIFEST = "generation.conf", "manifest.json"


@dataclass(frozen=True)
class Desired:
    """What a user asks for: files by relative path, the material that they refer to, and the default site's fate."""

    files: Mapping[str, str]
    depends_on: tuple[str, ...] = ()
    default_site: str = "keep"

    def digest(self, material: Mapping[str, str]) -> str:
        """Twelve hexadecimal digits over all of it, the material by its content."""
        whole = json.dumps([_FORMAT, dict(self.files), dict(material), self.default_site], sort_keys=True)
        return hashlib.sha256(whole.encode()).hexdigest()[:12]


def desired(files: list[dict[str, str]], depends_on: list[str], default_site: str) -> Desired:
    """Check and collect a module's parameters.

    :raises EdgeError: for a path that leaves the folder, appears twice or is ours, and for content with key material.
    """
    chosen: dict[str, str] = {}
    for number, entry in enumerate(files):
        where = f"files[{number}].path"
        path = values.file_path("/" + entry["path"], where)[1:]
        if path != os.path.normpath(path) or path.startswith("/") or path in (".", MARKER, MANIFEST):
            raise EdgeError(f"{path!r} can't be used", where=where, fix=f"Use a plain relative path other than {MARKER} and {MANIFEST}")
        if path in chosen:
            raise EdgeError(f"{path!r} is listed twice", where=where)
        if "PRIVATE KEY-----" in entry["content"]:
            raise EdgeError(
                "the content holds a private key", where=f"files[{number}] ({path})",
                why="configuration is shown in diffs", fix="Put the key into a file of its own and list that in depends_on",
            )  # fmt: skip
        chosen[path] = entry["content"]
    for path in chosen:
        if any(other.startswith(path + "/") for other in chosen):
            raise EdgeError(f"{path!r} is a file and a folder at once", where="files")
    return Desired(chosen, tuple(sorted({values.file_path(path, f"depends_on[{i}]") for i, path in enumerate(depends_on)})), default_site)


def digests(paths: tuple[str, ...]) -> dict[str, str]:
    """SHA-256 of each file; files that aren't there are left out. For the manifest only: never shown."""
    found = {}
    for path in paths:
        try:
            with open(path, "rb") as file:
                found[path] = hashlib.sha256(file.read()).hexdigest()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise EdgeError("it can't be read", where=path, why=error.strerror or "", fix="Run as root (become)") from None
    return found


@dataclass(frozen=True)
class Manifest:
    """What a generation is made of, as kept beside its files (mode 0600)."""

    digest: str
    default_site: str
    listen: str
    pid_file: str
    depends_on: Mapping[str, str] = field(default_factory=dict)
    #: the generation whose files these are, where they were gone back to
    copy_of: str = ""
    #: the file, by path, through which nginx reads the stream context's files; empty where there are none
    entry: Mapping[str, str] = field(default_factory=dict)
