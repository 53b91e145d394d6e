# SPDX-License-Identifier: GPL-3.0-or-later
"""The task behind module k8s_objects: its options understood, its parts called in order, its result put together."""

from __future__ import annotations

from typing import Any, Optional

from .._errors import EdgeError
from .._lists import Run
from .._loose import mapping
from .apply import Apply
from .await_ready import settle
from .client import Client
from .diff import difference, removal
from .item import Item
from .labels import LIST_LABEL, MANAGED_BY, field_manager, owner, owners
from .manifests import Manifest, parse, prepare
from .read import read
from .remove import find_unlisted, remove


class Objects:
    """One task.

    :param params: the module's options.
    :raises EdgeError: when an option or a definition can't be right; nothing has been asked of the cluster then.
    """

    def __init__(self, params: dict[str, Any], *, check: bool, diff: bool) -> None:
        self._params, self._check, self._diff = params, check, diff
        self._workers = int(params["concurrency"])
        self._prune = params.get("prune")
        if not 1 <= self._workers <= 32:
            raise EdgeError("this must be between 1 and 32", where="concurrency", why=f"it is {self._workers}")
        if params["timeout"] < 1:
            raise EdgeError("this must be at least 1", where="timeout", why=f"it is {params['timeout']}")
        if self._prune and not self._prune["labels"]:
            raise EdgeError("at least one label is needed", where="prune.labels", why="otherwise all our objects would be removed")
        definitions = parse(params["definitions"], params["src"])
        self._items = [Item(manifest) for manifest in prepare(definitions, params.get("namespace"))]
        self._unlisted: list[Item] = []
        self._manager = params["field_manager"]
        self._run: Optional[Run] = None
        if params.get("list"):
            prune = self._prune or {}
            self._run = Run(str(params["list"]), frozenset(prune.get("routes") or ()), exclusive=bool(prune.get("exclusive")))
            self._manager = field_manager(self._run.list_name, self._manager)
            for item in self._items:
                _label(item, self._run.list_name)
        elif self._prune and (self._prune.get("routes") or self._prune.get("exclusive")):
            raise EdgeError("routes and exclusive need a list", where="prune", fix="Set the option list, or leave them out")

    @property
    def manifests(self) -> list[Manifest]:
        """What is wanted."""
        return [item.manifest for item in self._items]

    def change(self, client: Client) -> None:
        """Do it, or predict it.

        :raises EdgeError: when anything failed; :meth:`result` tells about each object.
        """
        present = self._params["state"] == "present"
        client.field_manager = self._manager
        removes = self._prune or not present
        client.needs = ("get", "list", "watch", *(("create", "patch") if present else ()), *(("delete",) if removes else ()))
        read(client, self._items, contents=present and (self._check or self._diff), workers=self._workers)
        if self._run:
            for item in self._items:
                self._run.refuse(owners(item.before or {}), item.title, f"list {self._run.list_name}")
        if self._params.get("keep_foreign"):
            for item in self._items:
                _keep(item)
        if present:
            self._apply(client)
        else:
            self._remove(client, [item for item in self._items if not item.action])
        if self._prune:
            listed = {item.key for item in self._items}
            found = find_unlisted(client, self._prune["kinds"], self._prune["labels"], listed, self._workers)
            self._unlisted = [item for item in found if not self._run or self._run.takes(owner(item.before or {}))]
            self._remove(client, self._unlisted)

    def _apply(self, client: Client) -> None:
        force = self._params["force_conflicts"]
        Apply(client, self._items, check=self._check, force=force, workers=self._workers, run=self._run).run()
        _raise(self._items)
        if self._params["wait"] and not self._check:
            settle(client, self._items)
            _raise(self._items)

    def _remove(self, client: Client, items: list[Item]) -> None:
        remove(client, items, check=self._check, wait=self._params["wait"], workers=self._workers)
        _raise(items)

    def result(self) -> dict[str, Any]:
        """``changed``, ``results`` and, when asked for, ``diff``."""
        items = [*self._items, *self._unlisted]
        result: dict[str, Any] = {"changed": any(item.changed for item in items), "results": [item.result() for item in items]}
        if self._diff:
            result["diff"] = [self._difference(item) for item in items if item.changed]
        return result

    def _difference(self, item: Item) -> dict[str, Any]:
        if item.action in ("deleted", "would_delete"):
            return removal(item.title, item.before or {})
        before = None if item.action in ("created", "would_create") else item.before
        return difference(item.title, item.manifest, before, item.after, self._manager)


def _label(item: Item, list_name: str) -> None:
    """Say in the manifest which list it belongs to."""
    metadata = item.manifest["metadata"]
    labels = {**mapping(metadata.get("labels")), LIST_LABEL: list_name}
    item.manifest = {**item.manifest, "metadata": {**metadata, "labels": labels}}


def _keep(item: Item) -> None:
    """Settle what becomes of an object that is there and is not ours: nothing."""
    labels = mapping(mapping((item.before or {}).get("metadata")).get("labels"))
    if item.before and any(labels.get(name) != value for name, value in MANAGED_BY.items()):
        item.action, item.note = "unchanged", "it is not ours, so it stays as it is"


def _raise(items: list[Item]) -> None:
    """One error for all that failed."""
    errors = [item.error for item in items if item.error]
    if len(errors) == 1:
        raise errors[0]
    if errors:
        shown = " ".join(error.sentence for error in errors[:5])
        more = f" And {len(errors) - 5} more." if len(errors) > 5 else ""
        raise EdgeError(f"{len(errors)} of {len(items)} objects failed", why=f"{shown}{more}", code=errors[0].code)
