# SPDX-License-Identifier: GPL-3.0-or-later
"""Objects of several kinds and namespaces as they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .._errors import EdgeError
from .._loose import mapping
from . import parallel
from .client import Client
from .errors import ApiError
from .ready import why_not
from .text import clean

#: Requests at once.
WORKERS = 4


def look(client: Client, queries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """For each query, in order, ``api_found`` and ``resources``.

    :param queries: see module k8s_objects_info.
    :raises EdgeError: Secrets are asked for, or an object of a namespaced kind by name alone.
    :raises ApiError: what the API server refuses.
    """
    for number, query in enumerate(queries):
        if query["kind"].startswith("Secret") and query["api_version"] == "v1":
            raise EdgeError("Secrets are not read, because results may be shown", where=f"queries[{number}]",
                            fix="Use tls_secret_info, which never returns a key", code="SECRET_REFUSED")  # fmt: skip
    results: list[dict[str, Any]] = [{} for _query in queries]
    parallel.each(lambda number: results[number].update(_answer(client, queries[number])), range(len(queries)), WORKERS)
    return results


def not_ready(results: list[dict[str, Any]]) -> list[str]:
    """A sentence for each object of :func:`look`'s results that isn't ready, and for pods that could not even be made.

    The last event about an object is added, where events were looked for too.
    """
    found = [each for result in results for each in result["resources"]]
    events: dict[tuple[str, str, str], str] = {}
    for event in sorted(found, key=lambda each: str(each.get("lastTimestamp") or each.get("eventTime") or "")):
        if event.get("kind") == "Event":
            of = mapping(event.get("involvedObject"))
            events[_key(of, of)] = f"{clean(event.get('reason'), 100)}: {clean(event.get('message'), 300)}"
    sentences = []
    for live in found:
        key, reason = _key(live, mapping(live.get("metadata"))), why_not(live)
        if reason:
            said = f"; last event: {events[key]}" if key in events else ""
            sentences.append(f"{_title(key)} is not ready: {reason}{said}".rstrip(".") + ".")
    unmade = [f"{_title(key)}: {text}".rstrip(".") + "." for key, text in events.items() if text.startswith("FailedCreate:")]
    return sentences + unmade


def _key(live: Mapping[str, Any], metadata: Mapping[str, Any]) -> tuple[str, str, str]:
    return str(live.get("kind")), str(metadata.get("namespace") or ""), str(metadata.get("name"))


def _title(key: tuple[str, str, str]) -> str:
    kind, namespace, name = key
    return clean(f"{kind} {namespace}/{name}" if namespace else f"{kind} {name}", 600)


def _answer(client: Client, query: dict[str, Any]) -> dict[str, Any]:
    try:
        return {"api_found": True, "resources": _found(client, query)}
    except ApiError as error:
        if error.status != 404:
            raise
        return {"api_found": False, "resources": []}


def _found(client: Client, query: dict[str, Any]) -> list[dict[str, Any]]:
    kind, api_version, namespace, name = (query[option] for option in ("kind", "api_version", "namespace", "name"))
    labels, fields = ",".join(query["label_selectors"]), query["field_selectors"]
    if name and not labels and not fields:
        one = client.get(kind, name, namespace, api_version)
        return [] if one is None else [one]
    named = [f"metadata.name={name}"] if name else []
    return client.list(kind, namespace, labels or None, ",".join([*fields, *named]) or None, api_version)[0]
