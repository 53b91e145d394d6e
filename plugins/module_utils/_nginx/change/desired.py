# SPDX-License-Identifier: GPL-3.0-or-later
"""What is to be served: files, the material that they refer to, the default site's fate; and how a generation records it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Optional

from ..._errors import EdgeError
from .parts import Part

#: Part of every digest: raise it when the layout of a generation changes, so that the next run makes a new one.
_FORMAT = "1"


@dataclass(frozen=True)
class Desired:
    """What is to be served: files by relative path, the material that they refer to, and the default site's fate.

    :param parts: what the files were merged from; none in a generation of the time before there were lists.
    :param default_sites: what each list says of the default site, where that is not ``keep``.
    """

    files: Mapping[str, str]
    depends_on: tuple[str, ...] = ()
    default_site: str = "keep"
    parts: tuple[Part, ...] = ()
    default_sites: Mapping[str, str] = field(default_factory=dict)

    def digest(self, material: Mapping[str, str]) -> str:
        """Twelve hexadecimal digits over all of it, the material by its content."""
        whole: list[Any] = [_FORMAT, dict(self.files), dict(material), self.default_site]
        if self.parts:
            whole += [[part.as_dict() for part in self.parts], dict(self.default_sites)]
        return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()[:12]

    @property
    def lists(self) -> list[str]:
        """The lists that have parts."""
        return sorted({part.owner.list_name for part in self.parts})


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
    #: by list: the generation that its parts were taken from, where they were gone back to
    copy_of: Mapping[str, str] = field(default_factory=dict)
    #: the file, by path, through which nginx reads the stream context's files; empty where there are none
    entry: Mapping[str, str] = field(default_factory=dict)
    #: see :meth:`.parts.Part.as_dict`; None in a generation of the time before there were lists
    parts: Optional[list[Any]] = None
    default_sites: Mapping[str, str] = field(default_factory=dict)
