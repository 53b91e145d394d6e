# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan for one Secret (or ConfigMap): the wanted object, whether it differs, and how it is shown."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import Any, Optional

from .._errors import EdgeError
from .._kube.labels import FIELD_MANAGER, MANAGED_BY, ROUTE_LABEL
from .._loose import mapping, mappings
from .._x509.material import Material, decoded, describe, summary
from . import fitness
from .entries import Entry

KNOWN_LATER = "(known after apply)"
#: of a leaf: the Secret of the CA that issued it
ISSUER = "edgemesh.nginx-istio/issuer"
#: of a copy: namespace/name of its source, and the source's resourceVersion when it was copied
SOURCE, SOURCE_VERSION = "edgemesh.nginx-istio/source", "edgemesh.nginx-istio/source-version"


@dataclass(frozen=True)
class File:
    """A CA's file in a folder, as it shall be and as it is."""

    path: str
    content: bytes = field(repr=False)
    before: Optional[bytes] = field(repr=False)


@dataclass
class Plan:
    """What is to be done about one object.

    :ivar action: created, changed, recreated, deleted, unchanged or absent.
    :ivar why: reasons for it.
    :ivar material: None when only the run can make it.
    """

    entry: Entry
    action: str
    why: list[str] = field(default_factory=list)
    before: Optional[dict[str, Any]] = field(default=None, repr=False)
    manifest: Optional[dict[str, Any]] = field(default=None, repr=False)
    material: Optional[Material] = field(default=None, repr=False)
    findings: list[fitness.Finding] = field(default_factory=list)
    file: Optional[File] = None

    @property
    def changes(self) -> bool:
        """Whether anything is written."""
        return self.action not in ("unchanged", "absent")

    def result(self, predicted: bool) -> dict[str, Any]:
        """The entry of the module's ``results``: facts only."""
        action = self.action
        if predicted and self.changes:
            action = {"created": "would_create", "deleted": "would_delete"}.get(action, "would_change")
        certificate = summary(self.material) if self.material else None
        return {
            "namespace": self.entry.ref.namespace,
            "name": self.entry.ref.name,
            "kind": self.entry.ref.kind,
            "for": self.entry.kind,
            "action": action,
            "changed": self.changes,
            "why": self.why,
            "certificate": certificate or (KNOWN_LATER if self.changes and self.action != "deleted" else None),
            "findings": [each.as_dict() for each in self.findings],
        }

    def difference(self) -> dict[str, Any]:
        """One element of ``diff``: facts, fingerprints and dates."""
        after: dict[str, Any] = {}
        if self.manifest is not None:
            after = _shown(self.manifest)
        if self.changes and self.action != "deleted" and self.material is None:
            after = {**after, "data": KNOWN_LATER}
        header = self.entry.ref.title
        return {"before_header": header, "after_header": header, "before": _shown(self.before) if self.before else {}, "after": after}


def manifest(
    entry: Entry, data: Optional[dict[str, bytes]], annotations: dict[str, str], existing: Optional[dict[str, Any]]
) -> dict[str, Any]:
    """The wanted object; it keeps the labels, annotations, finalizers and owners of others.

    :param data: None = only the run knows it.
    """
    old = existing["metadata"] if existing else {}
    # one that several routes need is no single one's
    kept = {name: value for name, value in (old.get("labels") or {}).items() if entry.users is None or name != ROUTE_LABEL}
    metadata: dict[str, Any] = {key: old[key] for key in ("finalizers", "ownerReferences") if old.get(key)}
    metadata.update(
        name=entry.ref.name,
        namespace=entry.ref.namespace,
        labels={**kept, **entry.labels, **MANAGED_BY},
        annotations={**(old.get("annotations") or {}), **annotations},
    )
    made: dict[str, Any] = {"apiVersion": "v1", "kind": entry.ref.kind, "metadata": metadata}
    if entry.ref.kind == "Secret":
        made["type"] = entry.shape.type
    if data is not None:
        made["data"] = {name: _encoded(entry, value) for name, value in sorted(data.items())}
    return made


def _encoded(entry: Entry, value: bytes) -> str:
    return (base64.b64encode(value) if entry.ref.kind == "Secret" else value).decode("ascii")


def action(existing: Optional[dict[str, Any]], wanted: dict[str, Any], why: list[str]) -> str:
    """How to change ``existing`` to ``wanted``; adds the differences to ``why``."""
    if existing is None:
        why[:] = why or [f"there is no such {wanted['kind']} yet"]
        return "created"
    if existing.get("type") != wanted.get("type"):
        why.append(f"type: {existing.get('type')} instead of {wanted['type']}, which can't be changed in place")
        return "recreated"
    changed = "data" not in wanted
    data = existing.get("data") or {}
    if not changed and data != wanted["data"]:
        changed = True
        names = sorted(name for name in {*data, *wanted["data"]} if data.get(name) != wanted["data"].get(name))
        why.append(f"entries differ: {', '.join(names)}")
    for part in ("labels", "annotations"):
        old = existing["metadata"].get(part) or {}
        new = wanted["metadata"][part]
        names = sorted(name for name in {*old, *new} if old.get(name) != new.get(name))
        if names:
            changed = True
            why.append(f"{part} differ: {', '.join(names)}")
    if changed and existing.get("immutable"):
        why.append(f"the {wanted['kind']} is immutable")
        return "recreated"
    return "changed" if changed else "unchanged"


def ours(existing: dict[str, Any]) -> bool:
    """Whether we made it, and nobody else manages it now."""
    labels = existing["metadata"].get("labels") or {}
    return all(labels.get(name) == value for name, value in MANAGED_BY.items()) and not claims(existing)


def claims(existing: dict[str, Any]) -> list[str]:
    """Others that manage its content: its owners, and field managers that apply it (such as cert-manager, Flux, Argo CD).

    A plain update, as by ``kubectl edit``, is no claim but a drift, which is mended.
    """
    metadata = existing["metadata"]
    owners = [f"{each.get('kind')} {each.get('name')}" for each in mappings(metadata.get("ownerReferences"))]
    managers = [
        f"field manager {each.get('manager')}"
        for each in mappings(metadata.get("managedFields"))
        if each.get("operation") == "Apply"
        and each.get("manager") != FIELD_MANAGER
        and {"f:data", "f:stringData"} & mapping(each.get("fieldsV1")).keys()
    ]
    return [*owners, *sorted(managers)]


def check_owner(entry: Entry, existing: dict[str, Any]) -> None:
    """Refuse what somebody else keeps, unless told to take it over.

    :raises EdgeError: NOT_OURS.
    """
    if entry.adopt or ours(existing):
        return
    claimed = claims(existing)
    managers = sorted({str(each.get("manager")) for each in mappings(existing["metadata"].get("managedFields")) if each.get("manager")})
    why = (
        f"it is kept by {', '.join(claimed)}"
        if claimed
        else f"it has no label app.kubernetes.io/managed-by=edgemesh; written by {', '.join(managers) or 'somebody else'}"
    )
    raise EdgeError(
        f"the {entry.ref.kind} exists and is not ours, so it is left alone",
        where=entry.ref.title,
        why=why,
        fix="Choose another name, or take it over with adopt: true",
        code="NOT_OURS",
    )


def _shown(item: dict[str, Any]) -> dict[str, Any]:
    """An object for a diff."""
    metadata = item["metadata"]
    try:
        data: Any = describe(decoded(item))
    except EdgeError as error:
        data = error.sentence
    annotations = {key: value for key, value in (metadata.get("annotations") or {}).items() if "last-applied" not in key}
    return {"type": item.get("type"), "labels": metadata.get("labels") or {}, "annotations": annotations, "data": data}
