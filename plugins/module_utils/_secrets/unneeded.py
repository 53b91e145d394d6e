# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets that nobody needs after a run, and CAs and namespaces that nothing is left of."""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterable
from typing import Any, Optional

from .._errors import EdgeError
from .._kube.errors import ApiError
from .._kube.labels import COMPONENT, MANAGED_BY, ROUTE_LABEL, selector
from .._lists import Run
from .._loose import mapping
from .._x509 import facts
from .._x509.material import Material, from_secret
from . import users as needing
from .entries import Entry, Reference
from .plan import ISSUER, SOURCE, Plan, claims
from .relatives import Objects, Relatives, relatives

#: On what role private_ca makes: for anybody, and for gateways.
COMPONENTS = ("private-ca", "gateway-routes")
#: What a namespace of ours may hold and nobody would miss: Kubernetes and Istio put it into every one.
_EVERYWHERE = {("ServiceAccount", "default"), *(("ConfigMap", name) for name in ("kube-root-ca.crt", "istio-ca-root-cert", "istio-ca-crl"))}
_CONTENT = ("Secret", "ConfigMap", "ServiceAccount", "Service", "Pod", "PersistentVolumeClaim")


def find(client: Objects, namespaces: Iterable[str], run: Run, kept: Collection[Reference], warnings: list[str]) -> list[Reference]:
    """Secrets that role private_ca has made for users that this run takes away.

    :param kept: what the run itself needs, and its CA.
    """
    listed: list[dict[str, Any]] = []
    for namespace in dict.fromkeys(namespaces):
        try:
            listed += client.list("Secret", namespace, selector(MANAGED_BY), metadata_only=True)[0]
        except ApiError as error:
            if error.status != 403:
                raise
            warnings.append(f"Secrets that no route needs were not looked for in namespace {namespace}: list is forbidden.")
    parents = {parent for each in listed for parent in _parents(each)}
    found = []
    for each in listed:
        metadata = each["metadata"]
        ref = Reference(metadata["namespace"], metadata["name"])
        # A CA, which belongs to no list, has no users, and is known by what it signed or what was copied from it.
        counted = needing.NEEDED_BY in mapping(metadata.get("annotations")) or (_parents(each) and str(ref) not in parents)
        made_here = mapping(metadata.get("labels")).get(COMPONENT) in COMPONENTS and not metadata.get("ownerReferences")
        if counted and made_here and ref not in kept and any(run.takes(owner) for owner in needing.read(each)):
            found.append(ref)
    return found


def _parents(item: dict[str, Any]) -> set[str]:
    annotations = mapping(item["metadata"].get("annotations"))
    return {str(annotations[name]) for name in (ISSUER, SOURCE) if annotations.get(name)}


def plan(entry: Entry, existing: Optional[dict[str, Any]], run: Run) -> Plan:
    """What becomes of a Secret when the run has taken its users away."""
    if existing is None:
        return Plan(entry, "absent")
    before = needing.read(existing)
    users = needing.remaining(before, run)
    going = needing.said(owner for owner in before if owner not in users)
    if users == before:
        return Plan(entry, "unchanged", before=existing)
    if not users:
        return Plan(entry, "deleted", [f"nobody needs it without {going}"], existing)
    if claims(existing):
        return Plan(entry, "unchanged", ["somebody else writes down who needs it"], existing)
    wanted = copy.deepcopy(existing)
    metadata = wanted["metadata"]
    kept = {name: value for name, value in mapping(metadata.get("labels")).items() if name != ROUTE_LABEL}
    metadata["labels"] = {**kept, **needing.labelled(users)}
    metadata["annotations"] = {**mapping(metadata.get("annotations")), **needing.annotation(users)}
    metadata.pop("managedFields", None)
    return Plan(entry, "changed", [f"{going} needs it no longer"], existing, wanted, from_secret(existing))


def check_unused(client: Objects, ca: Plan, going: Collection[Reference], warnings: list[str]) -> None:
    """Refuse to remove a CA while something that it signed, or a copy of its certificates, stays.

    :raises EdgeError: CA_IN_USE, naming lists, routes and Secrets.
    """
    ref = ca.entry.ref
    known = relatives(client, ref, [ref.namespace, *(each.namespace for each in going)])
    left = {each: words for each, words in _used(client, ca, known).items() if each not in going}
    if left:
        raise EdgeError(
            f"the CA is in use: {', '.join(left.values())}",
            where=ref.title,
            why="what it signed can't be renewed without it, and a new CA would break everything that trusts it",
            fix="Remove these lists or Secrets first, or leave the CA there",
            code="CA_IN_USE",
            secrets=[each.title for each in left],
        )
    if known.unseen:
        warnings.append(f"{ref.title}: what belongs to this CA was not looked for among {', '.join(known.unseen)}: list is forbidden.")


def _used(client: Objects, ca: Plan, known: Relatives) -> dict[Reference, str]:
    """Whatever goes back to the CA, as a sentence has it."""
    try:
        signers = from_secret(ca.before or {}).trust
    except EdgeError:
        signers = []
    found = {}
    for each in known.all:
        ref = Reference(each["metadata"]["namespace"], each["metadata"]["name"], each["kind"])
        counted = needing.NEEDED_BY in mapping(each["metadata"].get("annotations"))
        if ref in known.found or (counted and ref != ca.entry.ref and _signed(client, ref, signers)):
            found[ref] = known.said(ref)
    return found


def _signed(client: Objects, ref: Reference, signers: list[Any]) -> bool:
    try:
        material = from_secret(client.get(ref.kind, ref.name, ref.namespace) or {})
    except EdgeError:
        material = Material()
    return bool(material.certs) and any(facts.issued_by(material.leaf, signer) for signer in signers)


def emptied(client: Objects, namespace: str, going: Collection[Reference]) -> bool:
    """Whether nothing of anybody's is left in a namespace; not where we may not look."""
    try:
        for kind in _CONTENT:
            for each in client.list(kind, namespace, metadata_only=True)[0]:
                place = Reference(namespace, each["metadata"]["name"], kind)
                if (kind, place.name) not in _EVERYWHERE and place not in going:
                    return False
    except ApiError as error:
        if error.status != 403:
            raise
        return False
    return True
