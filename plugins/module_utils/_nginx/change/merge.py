# SPDX-License-Identifier: GPL-3.0-or-later
"""Merges what one run of one list says with what all lists have on this host.

A part's own files are its alone. A shared file is there while some part names it; of several candidates the highest rank counts, and
candidates of one rank must be equal. So the outcome does not depend on the order in which lists are run.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from ..._errors import EdgeError
from ..._lists import Owner, Run
from .desired import Desired
from .parts import Change, Part, Shared


def merge(before: Desired, change: Change) -> Desired:
    """What serves after this run: its list's parts as it says, and all others as they are.

    :raises EdgeError: OTHER_LIST where another list has what this run claims, BAD_ROUTE where another part of the list has it.
    """
    run = change.run
    stay = [part for part in before.parts if not run.takes(part.owner)]
    refuse(stay, change)
    parts = tuple(sorted([*stay, *change.parts], key=lambda part: part.owner))
    lists = {part.owner.list_name for part in parts}
    sites = {**before.default_sites, run.list_name: change.default_site}
    sites = {name: site for name, site in sites.items() if name in lists and site != "keep"}
    return Desired(
        files=_files(stay, change.parts),
        depends_on=tuple(sorted({path for part in parts for path in part.depends_on})),
        default_site="disabled" if "disabled" in sites.values() else "keep",
        parts=parts,
        default_sites=sites,
    )


def refuse(stay: Sequence[Part], change: Change) -> None:
    """Stop where this run's parts claim what another part has, or say something else than another part.

    :param stay: the parts that the run does not take.
    :raises EdgeError: OTHER_LIST or BAD_ROUTE, naming the other part.
    """
    taken = {key: part.owner for part in stay for key in part.claims}
    said = {key: (value, part.owner) for part in stay for key, value in part.agrees.items()}
    for part in change.parts:
        for key, words in sorted(part.claims.items()):
            if key in taken:
                raise _refusal(part.owner, taken[key], words, "Put both routes' paths into one route, or choose another host")
            taken[key] = part.owner
        for key, value in sorted(part.agrees.items()):
            was, owner = said.setdefault(key, (value, part.owner))
            if was != value:
                raise _refusal(part.owner, owner, f"{key} is {was} and can't be {value} too: it", "Choose another port")


def _files(stay: Sequence[Part], made: Sequence[Part]) -> dict[str, str]:
    """The text of every file, own ones and shared ones. A refusal is about a part that is made."""
    owners: dict[str, Owner] = {}
    files: dict[str, str] = {}
    for part in (*stay, *made):
        for path, text in part.files.items():
            if path in owners:
                raise _refusal(part.owner, owners[path], f"file {path}", "Choose another name")
            owners[path], files[path] = part.owner, text
    chosen: dict[str, Shared] = {}
    by: dict[tuple[str, int], tuple[Shared, Owner]] = {}
    for part in (*stay, *made):
        for path, wanted in part.shared.items():
            if path in owners:
                ours, theirs = (owners[path], part.owner) if part in stay else (part.owner, owners[path])
                raise _refusal(ours, theirs, f"file {path}", "Choose another name")
            had, owner = by.setdefault((path, wanted.rank), (wanted, part.owner))
            if had != wanted:
                raise _refusal(part.owner, owner, f"shared file {path}, which has another content there,", "Give it another name or rank")
            if path not in chosen or wanted.rank > chosen[path].rank:
                chosen[path] = wanted
    there = {*files, *chosen}
    for path in there:
        for folder in _above(path):
            if folder in there:
                raise EdgeError(f"{folder!r} is a file and a folder at once", where="files")
    for path, wanted in chosen.items():
        files[path] = next((text for present, text in wanted.instead if there.issuperset(present)), wanted.content)
    return dict(sorted(files.items()))


def _above(path: str) -> Iterator[str]:
    while path := os.path.dirname(path):
        yield path


def _refusal(ours: Owner, theirs: Owner, what: str, fix: str) -> EdgeError:
    """Why a part can't have what another part has."""
    where = f"{ours} on this host"
    try:
        Run(ours.list_name).refuse([theirs], what, where)
    except EdgeError as refused:
        return refused
    return EdgeError(
        f"{what} belongs to {theirs} already", where=where, why="two routes of one list can't share it",
        fix=f"{fix}, or list route {theirs.route} in the same run, or set it to absent", code="BAD_ROUTE",
    )  # fmt: skip
