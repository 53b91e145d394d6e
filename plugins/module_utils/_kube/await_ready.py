# SPDX-License-Identifier: GPL-3.0-or-later
"""Waiting for the objects of a change together, and saying of each that isn't ready why not."""

from __future__ import annotations

from typing import Any, Optional

from .._errors import EdgeError
from .._loose import mapping, mappings
from . import parallel
from .client import Client
from .errors import ApiError
from .item import Item, grouped
from .ready import Never, pod, why_not
from .resources import Resource
from .text import clean
from .wait import Objects, Target, follow

#: For how many unready objects their pods are looked at: enough to see the cause, and in time.
_LOOKS = 5


def settle(client: Client, items: list[Item]) -> None:
    """Wait until every item is ready; ``after`` becomes its latest state.

    Those that are not at the deadline, or never will be, get an error. What was ready when it was applied costs no request;
    the rest one LIST and one watch for each kind and namespace.
    """
    for item in items:
        item.not_ready = why_not(item.after or {})
    groups = grouped([item for item in items if item.not_ready])

    def wait(group: tuple[Resource, Optional[str], list[Item]]) -> None:
        resource, namespace, members = group

        def done(objects: Objects) -> bool:
            for member in members:
                live = objects.get(member.key.name)
                member.after = live or member.after
                member.not_ready = why_not(live) if live else "it is gone"
            return all(not member.not_ready or isinstance(member.not_ready, Never) for member in members)

        try:
            trouble = follow(client, Target(resource, namespace, [member.key.name for member in members]), done)
        except ApiError as error:
            trouble = error.sentence
        for member in members:
            if member.not_ready:
                member.error = _unready(client, member, trouble)

    # A group that waits costs next to nothing, so none waits for another.
    parallel.each(wait, [(*key, members) for key, members in groups.items()], len(groups))
    for item in [item for item in items if item.error and not isinstance(item.not_ready, Never)][:_LOOKS]:
        _add_pods(client, item)


def _unready(client: Client, item: Item, trouble: str) -> EdgeError:
    what = "it will not become ready" if isinstance(item.not_ready, Never) else f"not ready after {client.deadline.seconds:g} s"
    return EdgeError(what, where=item.title, why="; ".join(part for part in (str(item.not_ready), trouble) if part), code="NOT_READY")


def _add_pods(client: Client, item: Item) -> None:
    """A workload's own status counts replicas; its pods say what is wrong."""
    labels = _pod_selector(item.after or {})
    if not labels or not item.error:
        return
    try:
        pods, _version = client.list("Pod", item.key.namespace, labels=labels)
    except EdgeError:
        return
    reasons: list[str] = []
    for live in pods:
        reason = str(pod(live))
        text = f"pod {clean(mapping(live.get('metadata')).get('name'), 253)}: {reason}"
        if reason and not any(reason in other for other in reasons):
            reasons.append(text)
    if reasons:
        item.not_ready = "; ".join([str(item.not_ready), *reasons[:3]])
        item.error.why = "; ".join([item.error.why, *reasons[:3]])
        item.error.args = (item.error.sentence,)


def _pod_selector(live: dict[str, Any]) -> str:
    if live.get("kind") not in ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job"):
        return ""
    selector = mapping(mapping(live.get("spec")).get("selector"))
    parts = [f"{name}={value}" for name, value in mapping(selector.get("matchLabels")).items()]
    for each in mappings(selector.get("matchExpressions")):
        values = ",".join(str(value) for value in each.get("values") or [])
        name = each.get("key")
        words = {"In": f"{name} in ({values})", "NotIn": f"{name} notin ({values})", "Exists": f"{name}", "DoesNotExist": f"!{name}"}
        parts += [words[each["operator"]]] if each.get("operator") in words else []
    return ",".join(parts)
