# SPDX-License-Identifier: GPL-3.0-or-later
"""How objects of ours are recognised, by us and by others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .. import _lists as lists
from .._loose import mapping

#: On every object that belongs to a route; what does not carry it is never pruned.
MANAGED_BY: dict[str, str] = {"app.kubernetes.io/managed-by": "edgemesh"}
#: Holds the route's name.
ROUTE_LABEL = "edgemesh.nginx-istio/route"
#: Holds the name of the list that the route is in.
LIST_LABEL = "edgemesh.nginx-istio/list"
#: Holds the role, or the part of one, that made an object and removes it again.
COMPONENT = "app.kubernetes.io/component"
#: Owner of the fields we apply (server-side apply).
FIELD_MANAGER = "edgemesh"


def selector(labels: Mapping[str, str]) -> str:
    """``labels`` as the API's ``labelSelector``: all must match."""
    return ",".join(f"{name}={value}" for name, value in sorted(labels.items()))


def owner(live: Mapping[str, Any]) -> lists.Owner:
    """The list and route that an object says it belongs to."""
    return lists.owner_of(mapping(mapping(live.get("metadata")).get("labels")), LIST_LABEL, ROUTE_LABEL)


def owners(live: Mapping[str, Any]) -> list[lists.Owner]:
    """The owner of an object; empty where the object is not ours."""
    labels = mapping(mapping(live.get("metadata")).get("labels"))
    ours = LIST_LABEL in labels or all(labels.get(name) == value for name, value in MANAGED_BY.items())
    return [owner(live)] if ours else []


def field_manager(list_name: str, manager: str = FIELD_MANAGER) -> str:
    """The field manager of a list: with one of its own, the API server itself refuses what another list has applied."""
    return manager if list_name == lists.DEFAULT else f"{manager}-{list_name}"
