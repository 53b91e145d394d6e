# SPDX-License-Identifier: GPL-3.0-or-later
"""Who needs a Secret: routes, each with the names that it needs, in an annotation of the Secret.

A Secret that several routes share is valid for the names of all of them, whichever of them a run lists, and goes with the last.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Optional

from .._kube import labels
from .._lists import Owner, Run
from .._loose import mapping

#: JSON: ``list/route`` -> names that the route needs
NEEDED_BY = "edgemesh.nginx-istio/needed-by"
#: The user of a Secret that was made before users were written down. No run names it, so only the end of its whole list takes it away.
UNKNOWN = "*"

Users = dict[Owner, tuple[str, ...]]


def read(item: Mapping[str, Any], names: Iterable[str] = ()) -> Users:
    """The users of a Secret of ours.

    :param names: of its certificate, which a Secret of before keeps.
    """
    metadata = mapping(item.get("metadata"))
    try:
        found = json.loads(mapping(metadata.get("annotations"))[NEEDED_BY])
        return {Owner.of_key(key): tuple(map(str, needed)) for key, needed in found.items()}
    except (KeyError, ValueError, TypeError, AttributeError):
        owner = labels.owner(item)
        return {Owner(owner.list_name, owner.route or UNKNOWN): tuple(names)}


def annotation(users: Users) -> dict[str, str]:
    """The annotation that :func:`read` reads."""
    return {NEEDED_BY: json.dumps({owner.key: list(names) for owner, names in sorted(users.items())}, separators=(",", ":"))}


def labelled(users: Users) -> dict[str, str]:
    """Labels for people and for pruning: the list, and the route where it is one."""
    owner = next(iter(users))
    route = {labels.ROUTE_LABEL: owner.route} if len(users) == 1 and owner.route not in ("", UNKNOWN) else {}
    return {labels.LIST_LABEL: owner.list_name, **route}


def merged(before: Users, run: Run, wanted: Mapping[str, Iterable[str]], where: str) -> Users:
    """The users after a run: those that it does not speak of stay.

    :param wanted: names by route of the run's list.
    :raises EdgeError: OTHER_LIST.
    """
    run.refuse(
        before, "the Secret", where,
        "Name another Secret; or don't have it issued here (edge_issue): then it is only checked, as somebody else's",
    )  # fmt: skip
    return {**remaining(before, run), **{Owner(run.list_name, route): tuple(dict.fromkeys(names)) for route, names in wanted.items()}}


def remaining(before: Users, run: Run) -> Users:
    """The users that a run leaves alone."""
    return {owner: names for owner, names in before.items() if not run.takes(owner)}


def names(users: Users) -> list[str]:
    """All names that they need."""
    return list(dict.fromkeys(name for _owner, needed in sorted(users.items()) for name in needed))


def said(users: Iterable[Owner]) -> str:
    """Users as a sentence has them."""
    return ", ".join(f"list {each.list_name}" if each.route == UNKNOWN else str(each) for each in sorted(users))


def run_of(raw: Optional[Mapping[str, Any]]) -> Run:
    """A module's option ``route_list``."""
    given = raw or {}
    return Run(
        given.get("name") or Run.list_name,
        frozenset(given.get("present") or ()),
        frozenset(given.get("absent") or ()),
        bool(given.get("exclusive")),
        bool(given.get("all_lists")),
    )


def as_option(run: Run) -> dict[str, Any]:
    """What :func:`run_of` takes."""
    flags = {"exclusive": run.exclusive, "all_lists": run.all_lists}
    return {"name": run.list_name, "present": sorted(run.present), "absent": sorted(run.absent), **flags}
