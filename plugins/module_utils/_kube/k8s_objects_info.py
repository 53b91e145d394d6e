"""Objects of several kinds and namespaces as they are."""

from __future__ import annotations

from typing import Any

from .._errors import EdgeError
from . import parallel
from .client import Client
from .errors import ApiError

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
