# SPDX-License-Identifier: GPL-3.0-or-later
"""Objects made absent: in the reverse order of their making, and gone only when their finalizers are done."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Optional

from .._errors import EdgeError
from .._loose import mapping, mappings
from . import parallel
from .client import Client
from .errors import ApiError
from .item import FOUNDATION, REST, SUPPORT, Item, grouped
from .labels import MANAGED_BY, selector
from .manifests import Key
from .resources import Resource
from .text import clean
from .wait import Objects, Target, follow


def find_unlisted(
    client: Client, kinds: Iterable[Mapping[str, Any]], labels: Mapping[str, str], listed: set[Key], workers: int
) -> list[Item]:
    """Objects of ``kinds`` that carry ``labels`` and our managed-by label and are not ``listed``.

    What a controller made (it has an owner) is left to its owner, even if it copied the labels.
    """
    wanted = selector({**labels, **MANAGED_BY})
    found: dict[Key, Item] = {}

    def look(entry: Mapping[str, Any]) -> None:
        try:
            resource = client.resource(entry["kind"], entry.get("api_version"))
            lives, _version = client.list(
                resource.kind, entry.get("namespace") or None, labels=wanted, api_version=resource.api_version, metadata_only=True
            )
        except ApiError as error:
            if error.status == 404:
                return
            raise
        for live in lives:
            item = Item(live, resource=resource, before=live, pruned=True)
            stays = item.key in listed or item.key.name in (entry.get("keep") or [])
            if not stays and not live["metadata"].get("ownerReferences"):
                found[item.key] = item

    parallel.each(look, list(kinds), workers)
    return sorted(found.values(), key=lambda item: (item.stage, item.title))


def remove(client: Client, items: list[Item], *, check: bool, wait: bool, workers: int) -> None:
    """Delete those of ``items`` that are there (``before``), later stages first; with ``wait`` a stage is gone before the next."""
    failed = False
    for stage in (REST, SUPPORT, FOUNDATION):
        here = [item for item in items if item.stage == stage]
        for item in here:
            item.action = "absent" if item.before is None else "skipped" if failed else "would_delete" if check else ""
        going = [item for item in here if not item.action]

        def delete(item: Item) -> None:
            try:
                client.delete(
                    item.key.kind,
                    item.key.name,
                    item.namespace,
                    uid=_uid(item.before),
                    api_version=item.api_version,
                    # So that what an object owns (a Deployment's pods) is gone when the object is.
                    propagation="Foreground" if wait else "Background",
                )
                item.action = "deleted"
            except EdgeError as error:
                item.fail(error)

        parallel.each(delete, going, workers)
        if wait:
            wait_gone(client, [item for item in going if item.action == "deleted"])
        failed = failed or any(item.error for item in here)


def wait_gone(client: Client, items: list[Item]) -> None:
    """Wait until every item's ``before`` is gone; those that are still there at the deadline get an error that says why."""

    def wait(group: tuple[Resource, Optional[str], list[Item]]) -> None:
        resource, namespace, members = group
        left: Objects = {}

        def done(objects: Objects) -> bool:
            left.clear()
            for member in members:
                live = objects.get(member.key.name)
                if live and _uid(live) == _uid(member.before):
                    left[member.key.name] = live
            return not left

        trouble = ""
        try:
            names = [member.key.name for member in members]
            trouble = follow(client, Target(resource, namespace, names, metadata_only=True), done)
        except ApiError as error:
            if error.status == 404:  # with its CRD goes the kind, and all its objects
                return
            trouble = error.sentence
        for member in members:
            if member.key.name in left:
                member.fail(_still_there(client, member, left[member.key.name], trouble))

    # A group that waits costs next to nothing, so none waits for another.
    groups = grouped(items)
    parallel.each(wait, [(*key, members) for key, members in groups.items()], len(groups))


def _uid(live: Optional[dict[str, Any]]) -> Any:
    return mapping(mapping(live).get("metadata")).get("uid")


def _still_there(client: Client, item: Item, live: dict[str, Any], trouble: str) -> EdgeError:
    return EdgeError(
        f"still there after {client.deadline.seconds:g} s",
        where=item.title,
        why="; ".join(part for part in (_what_holds(client, item, live), trouble) if part),
        fix="Find out why its finalizers are not done, or allow more time (timeout)",
        code="TIMEOUT",
    )


def _what_holds(client: Client, item: Item, live: dict[str, Any]) -> str:
    metadata = mapping(live.get("metadata"))
    if not metadata.get("deletionTimestamp"):
        return "it is not marked for deletion"
    names = [clean(name, 200) for name in metadata.get("finalizers") or []]
    reasons = [f"finalizers: {', '.join(names)}"] if names else ["its deletion is under way"]
    if item.key.kind == "Namespace" and not item.key.group:
        reasons += _namespace_content(client, item.key.name)
    return "; ".join(reasons)


def _namespace_content(client: Client, name: str) -> list[str]:
    try:
        live: Optional[dict[str, Any]] = client.get("Namespace", name)
    except ApiError:
        return []
    conditions = mappings(mapping((live or {}).get("status")).get("conditions"))
    return [clean(each.get("message"), 500) for each in conditions if each.get("status") == "True" and each.get("message")]
