# SPDX-License-Identifier: GPL-3.0-or-later
"""Many objects as one change: applied by stages, judged exactly, predicted in check mode."""

from __future__ import annotations

from typing import Any, Optional

from .._errors import EdgeError
from .._lists import Run
from .._loose import mapping, mappings
from . import parallel
from .await_ready import settle
from .client import Client
from .errors import ApiError
from .item import FOUNDATION, REST, SUPPORT, Item
from .labels import LIST_LABEL, owner, owners
from .manifests import Manifest, contains
from .ownership import applied_entry, applied_fields
from .remove import wait_gone
from .resources import Resource, from_crd
from .text import clean

#: How often an object that others keep changing is read afresh before it is applied regardless.
_RACES = 5


class Apply:
    """Applies ``items``, which :func:`.read.read` has read.

    :param check: predict only. :param force: take over other managers' fields. :param workers: requests at a time.
    :param run: whose the items are; what another list has is refused, with ``force`` too.
    """

    def __init__(self, client: Client, items: list[Item], *, check: bool, force: bool, workers: int, run: Optional[Run] = None) -> None:
        self._client, self._items, self._check, self._force, self._workers = client, items, check, force, workers
        self._run = run
        crds = [item for item in items if item.key.kind == "CustomResourceDefinition"]
        self._crds = {(made.group, made.kind): crd for crd in crds for made in from_crd(crd.manifest)}
        self._namespaces = {item.key.name: item for item in items if (item.key.group, item.key.kind) == ("", "Namespace")}

    def run(self) -> None:
        """Apply stage after stage. A stage in which something failed is finished, later ones are skipped.

        Namespaces and CRDs are always waited for: what comes next needs them.

        :raises EdgeError: before anything is changed, for a kind or a namespace that neither the cluster nor this change has.
        """
        for item in self._items:
            if item.missing and not self._provided(item):
                self._missing(item, item.missing)
        failed = False
        for stage in (FOUNDATION, SUPPORT, REST):
            items = [item for item in self._items if item.stage == stage and not item.action]
            if failed:
                for item in items:
                    item.action = "skipped"
                continue
            parallel.each(self._apply, items, self._workers)
            if stage == FOUNDATION and not self._check:
                settle(self._client, [item for item in items if not item.error])
                parallel.each(self._await_served, [item for item in items if item.changed and not item.error], self._workers)
            failed = any(item.error for item in items)

    def _await_served(self, item: Item) -> None:
        """A kind is served, and listed by the API, a moment after its CRD is established."""
        versions = mappings(mapping(item.manifest.get("spec")).get("versions"))
        served = {str(version.get("name")) for version in versions if version.get("served")}
        for resource in from_crd(item.manifest) if item.key.kind == "CustomResourceDefinition" else []:
            while resource.api_version.rpartition("/")[2] in served and not self._client.serves(resource):
                if not self._client.deadline.pause(0.1):
                    item.not_ready = f"{resource.kind} of {resource.api_version} is not served yet"
                    item.error = EdgeError(f"not ready after {self._client.deadline.seconds:g} s", where=item.title, why=item.not_ready,
                                           code="NOT_READY")  # fmt: skip
                    return

    def _provided(self, item: Item) -> bool:
        """Whether this change makes what the item lacks."""
        if item.missing and item.missing.code == "NAMESPACE_NOT_FOUND":
            return item.key.namespace in self._namespaces
        return (item.key.group, item.key.kind) in self._crds

    def _missing(self, item: Item, missing: ApiError) -> None:
        # In check mode an earlier task may only have said that it would install it. But what the API server itself has is
        # never installed, and a served group does not get new kinds.
        if not self._check or (missing.code == "KIND_NOT_FOUND" and not (item.resource and _installable(item.resource))):
            raise missing
        item.action = "would_create"
        item.note = f"{missing.what} (yet)"
        lacking = (
            f"the namespace {clean(item.key.namespace, 253)} does not exist (yet): what is to be in it"
            if missing.code == "NAMESPACE_NOT_FOUND"
            else f"the cluster does not know {item.key.kind} of {item.api_version} (yet): it"
        )
        self._client.warn(f"{lacking} could not be checked")

    # -- one item ------------------------------------------------------------------------------------------------------

    def _apply(self, item: Item) -> None:
        try:
            if self._check:
                self._predict(item)
            else:
                self._make(item)
        except EdgeError as error:
            item.fail(error)

    def _make(self, item: Item) -> None:
        if item.going:
            wait_gone(self._client, [item])
            if item.error:
                return
            item.before = None
        first = current = item.before
        if first and _bare(item.manifest) and not applied_fields(first, self._client.field_manager):
            # There is nothing to apply, yet the server would write something: who owned what before.
            item.action, item.after = "unchanged", first
            return
        races, answer_lost = 0, False
        while item.after is None:
            try:
                item.after = self._send(item, current if races < _RACES else None)
            except ApiError as error:
                if error.code == "MODIFIED":
                    races += 1
                    answer_lost = answer_lost or error.repeated
                    current = self._client.get(item.key.kind, item.key.name, item.namespace, item.api_version)
                    continue
                # A CRD is established a moment before its kind is served.
                ours = error.code == "KIND_NOT_FOUND" and (item.key.group, item.key.kind) in self._crds
                if not (ours and self._client.deadline.pause(0.1)):
                    raise
        if first is None:
            item.action = "created"
        else:
            # When an answer got lost, the change that came in between may have been our own.
            before = first if answer_lost else current or {}
            same = _version(before) == _version(item.after)
            if races >= _RACES:
                # Others change it too fast for that; when we last changed a field is noted as well, but by the second only.
                manager = self._client.field_manager
                same = applied_entry(before, manager) == applied_entry(item.after, manager)
            item.action = "unchanged" if same else "changed"

    def _send(self, item: Item, before: Optional[dict[str, Any]]) -> dict[str, Any]:
        """Apply, provided that the object is still as ``before``: only then does its resourceVersion tell whether this changed it."""
        manifest = item.manifest
        if before:
            manifest = {**manifest, "metadata": {**manifest["metadata"], "resourceVersion": _version(before)}}
        return self._applied(item, manifest)

    def _applied(self, item: Item, manifest: Manifest, dry_run: bool = False) -> dict[str, Any]:
        """What the server makes of it. A list's object is never forced before it is known that no other list has it."""
        try:
            return self._client.apply(manifest, force=self._force and not self._run, dry_run=dry_run)
        except ApiError as error:
            if error.code != "CONFLICT" or not self._run:
                raise
            # Another run may have made it since it was looked for.
            live = self._client.get(item.key.kind, item.key.name, item.namespace, item.api_version) or {}
            labelled = any(conflict["field"].endswith(LIST_LABEL) for conflict in error.details["conflicts"])
            self._run.refuse([owner(live)] if labelled else owners(live), item.title, f"list {self._run.list_name}")
            if not self._force:
                raise
        if not live:
            return self._client.apply(manifest, dry_run=dry_run)
        metadata = {**manifest["metadata"], "resourceVersion": _version(live)}
        return self._client.apply({**manifest, "metadata": metadata}, force=True, dry_run=dry_run)

    def _predict(self, item: Item) -> None:
        namespace = self._namespaces.get(item.key.namespace)
        crd = self._crds.get((item.key.group, item.key.kind))
        if namespace and namespace.before is None:
            item.note = "its namespace would be created too"
        elif crd and item.missing:
            item.note = "its kind would be created too"
        elif item.going:
            item.note = "the one that is there is being deleted"
        if item.note:
            item.action = "would_create"
            return
        try:
            item.after = self._applied(item, item.manifest, dry_run=True)
        except ApiError as error:
            if error.code == "NAMESPACE_NOT_FOUND":
                self._missing(item, error)
                return
            if "does not support dry run" not in error.why:
                raise
            item.note = "an admission webhook does not support dry runs: compared with the manifest only"
            same = item.before is not None and contains(item.before, item.manifest)
        else:
            same = item.before is not None and self._same(item.before, item.after)
        item.action = "would_create" if item.before is None else "unchanged" if same else "would_change"

    def _same(self, before: dict[str, Any], after: dict[str, Any]) -> bool:
        """By content, because a dry run has no resourceVersion of its own; taking over fields counts, as it does for real."""
        manager = self._client.field_manager
        return _content(before) == _content(after) and applied_fields(before, manager) == applied_fields(after, manager)


def _version(live: dict[str, Any]) -> Any:
    return mapping(live.get("metadata")).get("resourceVersion")


def _bare(manifest: Manifest) -> bool:
    """Whether it says no more than that the object exists."""
    return manifest.keys() <= {"apiVersion", "kind", "metadata"} and manifest["metadata"].keys() <= {"name", "namespace"}


def _content(live: dict[str, Any]) -> dict[str, Any]:
    server_owned = ("managedFields", "resourceVersion", "generation", "uid", "creationTimestamp")
    metadata = {name: value for name, value in mapping(live.get("metadata")).items() if name not in server_owned}
    return {**live, "metadata": metadata}


def _installable(resource: Resource) -> bool:
    """Kinds of the API server itself are there or will never be; others come with a CRD."""
    group = resource.group
    return "." in group and (not group.endswith(".k8s.io") or group.startswith(("gateway.", "k8s.cni.")))
