# SPDX-License-Identifier: GPL-3.0-or-later
"""What a configuration is made of, whose each part is, and what one run of one list asks for, checked."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ... import _values as values
from ..._errors import EdgeError
from ..._lists import Owner, Run

#: Files of ours in a generation's folder: the confirmation server, the manifest, and whose what is (without key material, for anybody).
MARKER, MANIFEST, PARTS = "generation.conf", "manifest.json", "parts.json"
#: The part of those who give files without saying what belongs together.
FILES = "files"


@dataclass(frozen=True)
class Shared:
    """What a part needs at a path that others may need as well.

    :param instead: ``(paths, text)``: the first whose paths are all there gives the text.
    """

    content: str
    rank: int = 0
    instead: tuple[tuple[tuple[str, ...], str], ...] = ()


@dataclass(frozen=True)
class Part:
    """What one route of a list has on this host.

    :param files: its own, path to text.
    :param depends_on: absolute paths of certificates and keys that its files refer to.
    :param material: those that were exported for it, and go with the last part that names them.
    :param claims: what no other part may have, and the words for it.
    :param agrees: what all parts must say alike.
    :param probes: how to ask for it, as ``edge_probe`` takes it.
    """

    owner: Owner
    files: Mapping[str, str] = field(default_factory=dict)
    shared: Mapping[str, Shared] = field(default_factory=dict)
    depends_on: tuple[str, ...] = ()
    material: tuple[str, ...] = ()
    claims: Mapping[str, str] = field(default_factory=dict)
    agrees: Mapping[str, str] = field(default_factory=dict)
    probes: tuple[Mapping[str, Any], ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Plain data for the manifest. The own files' texts stand in the files themselves, here are their digests."""
        files = {path: hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest() for path, text in self.files.items()}
        return {**dataclasses.asdict(self), "owner": self.owner.key, "files": files}

    @classmethod
    def of_dict(cls, found: Mapping[str, Any], texts: Mapping[str, str]) -> Part:
        """What :meth:`as_dict` wrote.

        :param texts: of the files, by path; one that somebody has removed is left out.
        """
        return cls(
            owner=Owner.of_key(found["owner"]),
            files={path: texts[path] for path in found["files"] if path in texts},
            shared={
                path: Shared(each["content"], each["rank"], tuple((tuple(present), text) for present, text in each["instead"]))
                for path, each in found["shared"].items()
            },
            depends_on=tuple(found["depends_on"]),
            material=tuple(found["material"]),
            claims=found["claims"],
            agrees=found["agrees"],
            probes=tuple(found["probes"]),
        )


@dataclass(frozen=True)
class Change:
    """What one run asks for: what it says of its list's parts, and the parts that it makes."""

    run: Run
    parts: tuple[Part, ...] = ()
    default_site: str = "keep"


# --- from a module's parameters ---


def read(
    list_name: str, parts: Sequence[Mapping[str, Any]], absent: Iterable[str] = (), exclusive: bool = False, default_site: str = "keep"
) -> Change:
    """Check what a run asks for.

    :param parts: plain data: ``name``, and the fields of :class:`Part`, with files as lists of ``path`` and ``content``.
    :raises EdgeError: for a path that leaves the folder, appears twice or is ours, and for content with key material.
    """
    list_name = values.name(list_name, "list")
    made = tuple(_part(list_name, each, f"parts[{number}]") for number, each in enumerate(parts))
    names = [part.owner.route for part in made]
    gone = frozenset(values.name(name, f"absent[{number}]") for number, name in enumerate(absent))
    for name in names:
        if names.count(name) > 1 or name in gone:
            raise EdgeError(f"part {name} is {'to be made and absent' if name in gone else 'listed twice'}", where="parts")
    return Change(Run(list_name, frozenset(names), gone, exclusive), made, default_site)


def files_alone(list_name: str, files: Sequence[Mapping[str, str]], depends_on: Iterable[str], default_site: str) -> Change:
    """The same for files without parts, which are all that the list has."""
    part = {"name": FILES, "files": files, "depends_on": depends_on}
    made = _part(values.name(list_name, "list"), part, "")
    return Change(Run(made.owner.list_name, frozenset([FILES]), exclusive=True), (made,), default_site)


def _part(list_name: str, given: Mapping[str, Any], where: str) -> Part:
    place = f"{where}." if where else ""
    files: dict[str, str] = {}
    for number, each in enumerate(given.get("files") or []):
        path = relative_path(each["path"], f"{place}files[{number}].path")
        if path in files:
            raise EdgeError(f"{path!r} is listed twice", where=f"{place}files[{number}].path")
        files[path] = file_text(each["content"], f"{place}files[{number}] ({path})")
    shared: dict[str, Shared] = {}
    for number, each in enumerate(given.get("shared") or []):
        path = relative_path(each["path"], f"{place}shared[{number}].path")
        if path in files or path in shared:
            raise EdgeError(f"{path!r} is listed twice", where=f"{place}shared[{number}].path")
        at = f"{place}shared[{number}] ({path})"
        instead = tuple((tuple(one["present"]), file_text(one["content"], at)) for one in each.get("instead") or [])
        shared[path] = Shared(file_text(each["content"], at), each.get("rank") or 0, instead)
    return Part(
        owner=Owner(list_name, values.name(given["name"], f"{place}name")),
        files=files,
        shared=shared,
        depends_on=_paths(given.get("depends_on"), f"{place}depends_on"),
        material=_paths(given.get("material"), f"{place}material"),
        claims=_texts(given.get("claims"), f"{place}claims"),
        agrees=_texts(given.get("agrees"), f"{place}agrees"),
        probes=tuple(_probe(each, f"{place}probes[{number}]") for number, each in enumerate(given.get("probes") or [])),
    )


def relative_path(path: str, where: str) -> str:
    """The path of a file in a generation's folder.

    :raises EdgeError: it leaves the folder, or is one of ours.
    """
    path = values.file_path("/" + path, where)[1:]
    if path != os.path.normpath(path) or path.startswith("/") or path in (".", MARKER, MANIFEST, PARTS):
        raise EdgeError(
            f"{path!r} can't be used", where=where, fix=f"Use a plain relative path other than {MARKER}, {MANIFEST} and {PARTS}"
        )
    return path


def file_text(content: str, where: str) -> str:
    """The text of a file.

    :raises EdgeError: it holds key material.
    """
    if "PRIVATE KEY-----" in content:
        raise EdgeError(
            "the content holds a private key", where=where,
            why="configuration is shown in diffs", fix="Put the key into a file of its own and list that in depends_on",
        )  # fmt: skip
    return content


def _probe(given: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    file_text(json.dumps(given), where)
    return given


def _paths(given: Any, where: str) -> tuple[str, ...]:
    return tuple(sorted({values.file_path(path, f"{where}[{number}]") for number, path in enumerate(given or [])}))


def _texts(given: Any, where: str) -> dict[str, str]:
    found = dict(given or {})
    for key, text in found.items():
        # by its place alone: it may be anything
        if not (isinstance(text, str) and text.isprintable() and str(key).isprintable()):
            raise EdgeError("names and values must be texts of one line", where=where)
    return found
