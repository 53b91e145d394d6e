# SPDX-License-Identifier: GPL-3.0-or-later
"""Which file of a generation has what: the names, and the files of one run, each once.

nginx reads ``*.conf`` in the order of their names, so refusals of unknown names (``quic-``, ``refuse-``) come before the routes. What else
is in folders is included: by servers, by a map, or by all that has to do with one port of the stream context.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from .blocks import File, Instead, Shared

#: Where nginx finds the files that serve, from the folder of its main file.
_CURRENT = "edgemesh/current"
#: TLS ports that the stream context has, and what stands in their folders.
LISTENER, FOLDER, NAMES = "stream/port-{}.conf", "stream/port-{}", "stream/names/{}"


def told(port: str) -> str:
    """The file that makes a port's listener say who the client is."""
    return f"{FOLDER.format(port)}/told.inc"


def read(path: str) -> str:
    """The path, or pattern, for an ``include``."""
    return f"{_CURRENT}/{path}"


def short(*parts: Any) -> str:
    """Twelve hexadecimal digits, equal for equal content."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]


class Files:
    """Collects the contents that files may have. Equal ones are written once, however many routes need them."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, Any], File] = {}
        self._contents: dict[str, int] = {}

    def own(self, path: str, it: Any) -> str:
        """The content's id: the path, with a number where the path has several contents."""
        found = self._found.get((path, it))
        if found is None:
            number = self._contents[path] = self._contents.get(path, 0) + 1
            found = File(path if number == 1 else f"{path}~{number}", path, type(it).__name__.lower(), it)
            self._found[path, it] = found
        return found.id

    def shared(self, path: str, it: Any, rank: int = 0, instead: Sequence[tuple[tuple[str, ...], Any]] = ()) -> Shared:
        """A shared file. ``instead`` has pairs of files that must be there and what ``it`` is then."""
        return Shared(path, self.own(path, it), rank, tuple(Instead(there, self.own(path, other)) for there, other in instead))

    def of(self, stream: bool) -> tuple[File, ...]:
        """Those of one context."""
        return tuple(file for file in self._found.values() if file.path.startswith("stream/") == stream)
