# SPDX-License-Identifier: GPL-3.0-or-later
"""What is in the cluster before a change: one LIST for each kind and namespace."""

from __future__ import annotations

from typing import Any, Optional

from .._errors import EdgeError
from . import parallel
from .client import Client
from .errors import ApiError
from .item import Item, grouped
from .manifests import key_of
from .resources import Resource
from .text import clean


def read(client: Client, items: list[Item], *, contents: bool, workers: int) -> None:
    """Set every item's ``resource`` and ``before``, or ``missing`` where the cluster has not even its kind or namespace.

    :param contents: read the whole objects, not just their metadata.
    """
    for item in items:
        if item.key.kind == "CustomResourceDefinition":
            client.learn(item.manifest)
    for item in items:
        _find_resource(client, item)
    groups = [(resource, namespace, members) for (resource, namespace), members in grouped(items).items()]
    parallel.each(lambda group: _read_group(client, *group, contents), groups, workers)
    # A LIST in a namespace that does not exist finds nothing, just as in an empty one.
    inhabited = {item.namespace for item in items if item.before}
    doubtful = {item.namespace for item in items if item.namespace} - inhabited
    parallel.each(lambda namespace: _check_namespace(client, str(namespace), items), sorted(map(str, doubtful)), workers)


def _find_resource(client: Client, item: Item) -> None:
    try:
        item.resource = client.resource(item.key.kind, item.api_version)
    except ApiError as error:
        if error.status != 404:
            raise
        item.missing = _of(error, item)
        return
    if item.resource.namespaced and not item.key.namespace:
        raise EdgeError("metadata.namespace is missing", where=item.title, fix="Give it, or the module's option namespace")
    if not item.resource.namespaced and item.key.namespace:
        # Some tools write a namespace into everything.
        metadata = {name: value for name, value in item.manifest["metadata"].items() if name != "namespace"}
        item.manifest = {**item.manifest, "metadata": metadata}
        item.key = key_of(item.manifest)


def _read_group(client: Client, resource: Resource, namespace: Optional[str], items: list[Item], contents: bool) -> None:
    try:
        live = _read(client, resource, namespace, {item.key.name for item in items}, contents)
    except ApiError as error:
        if error.code != "KIND_NOT_FOUND":
            raise
        for item in items:
            item.missing = _of(error, item)
        return
    for item in items:
        item.before = live.get(item.key.name)


def _read(client: Client, resource: Resource, namespace: Optional[str], names: set[str], contents: bool) -> dict[str, dict[str, Any]]:
    only = f"metadata.name={next(iter(names))}" if len(names) == 1 else None
    kind, api_version = resource.kind, resource.api_version
    try:
        found, _version = client.list(kind, namespace, fields=only, api_version=api_version, metadata_only=not contents)
    except ApiError as error:
        if error.status != 403:
            raise
        # Who may not list may still get.
        each = [client.get(kind, name, namespace, api_version) for name in sorted(names)]
        found = [live for live in each if live is not None]
    return {live["metadata"]["name"]: live for live in found}


def _check_namespace(client: Client, namespace: str, items: list[Item]) -> None:
    try:
        if client.get("Namespace", namespace) is not None:
            return
    except ApiError as error:
        if error.status == 403:
            return  # the API server will tell when something is written into it
        raise
    for item in items:
        if item.namespace == namespace and not item.missing:
            item.missing = ApiError(
                f"the namespace {clean(namespace, 253)} does not exist",
                status=404,
                reason="NotFound",
                where=item.title,
                code="NAMESPACE_NOT_FOUND",
                fix="Create it first, or list it too",
            )


def _of(error: ApiError, item: Item) -> ApiError:
    """``error`` said of this object instead of the list that it was met in."""
    return ApiError(error.what, status=error.status, reason=error.reason, where=item.title, why=error.why, fix=error.fix, code=error.code)
