# SPDX-License-Identifier: GPL-3.0-or-later
"""The descendants of a CA's Secret in the cluster: leaves, copies of its certificates, and copies of copies; found by our labels."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Optional, Protocol

from .._errors import EdgeError
from .._kube.errors import ApiError
from .._kube.labels import MANAGED_BY, selector
from .._x509 import facts
from .._x509.library import x509
from .._x509.material import Material, from_secret
from . import users as needing
from .authority import Authority
from .entries import Reference
from .plan import ISSUER, SOURCE


class Objects(Protocol):
    """What this needs of :class:`.._kube.client.Client`."""

    def get(self, kind: str, name: str, namespace: Optional[str] = None) -> Optional[dict[str, Any]]:
        """Read one object; None where there is none."""

    def list(
        self, kind: str, namespace: Optional[str] = None, labels: Optional[str] = None, *, metadata_only: bool = False
    ) -> tuple[list[dict[str, Any]], str]:
        """All objects of a kind with these labels."""


@dataclass
class Relatives:
    """
    :ivar found: all that goes back to the CA.
    :ivar unseen: kinds and places that we may not list.
    :ivar all: everything of ours that was looked at, without its content.
    """

    found: list[Reference] = field(default_factory=list)
    unseen: list[str] = field(default_factory=list)
    all: list[dict[str, Any]] = field(default_factory=list)

    def said(self, ref: Reference) -> str:
        """A Secret and who needs it, as a sentence has them."""
        users = next(needing.read(each) for each in self.all if _reference(each) == ref)
        return f"{ref.title} ({needing.said(users)})"


def relatives(client: Objects, ca: Reference, namespaces: Iterable[str]) -> Relatives:
    """Everything of ours that names ``ca``, or what names it, as its issuer or source.

    :param namespaces: where to look if the whole cluster must not be looked at.
    """
    result = Relatives()
    result.all = items = [
        each for kind in ("Secret", "ConfigMap") for each in _listed(client, kind, sorted(set(namespaces)), result.unseen)
    ]
    above = {str(ca)}
    while True:
        names = [_reference(each) for each in items if _parents(each) & above]
        if all(each in result.found for each in names):
            return result
        result.found = names
        above |= {str(each) for each in names if each.kind == "Secret"}


def _parents(item: dict[str, Any]) -> set[str]:
    annotations = item["metadata"].get("annotations") or {}
    return {annotations[name] for name in (ISSUER, SOURCE) if annotations.get(name)}


def _reference(item: dict[str, Any]) -> Reference:
    return Reference(item["metadata"]["namespace"], item["metadata"]["name"], item["kind"])


def _listed(client: Objects, kind: str, namespaces: list[str], unseen: list[str]) -> list[dict[str, Any]]:
    labels = selector(MANAGED_BY)
    items: list[dict[str, Any]] = []
    for namespace in (None, *namespaces):
        try:
            items += client.list(kind, namespace, labels, metadata_only=True)[0]
        except ApiError as error:
            if error.status != 403:
                raise
            unseen.append(f"{kind}s in {namespace or 'the whole cluster'}")
        else:
            if namespace is None:
                break
    return items


def untrusting(client: Objects, found: list[Reference], successor: list[x509.Certificate]) -> list[Reference]:
    """Those that hold trusted certificates, but not yet the successor's."""
    return [each for each, material in _read(client, found) if material.ca and not set(successor) <= set(material.ca)]


def unmoved(client: Objects, found: list[Reference], authority: Authority) -> list[Reference]:
    """Those whose certificate comes from a CA that is to be trusted no more."""
    return [
        each
        for each, material in _read(client, found)
        if material.certs and any(facts.issued_by(material.leaf, old) for old in authority.retiring)
    ]


def _read(client: Objects, found: list[Reference]) -> list[tuple[Reference, Material]]:
    read = []
    for each in found:
        item = client.get(each.kind, each.name, each.namespace)
        try:
            material = from_secret(item) if item else Material()
        except EdgeError:
            continue  # nobody can use an unreadable Secret
        read.append((each, material))
    return read
