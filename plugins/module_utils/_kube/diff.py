# SPDX-License-Identifier: GPL-3.0-or-later
"""Differences for ``--diff``: the fields that we apply, and never a Secret's values."""

from __future__ import annotations

import base64
import hashlib
from typing import Any, Optional

from .. import _pem
from .._hidden import HIDDEN
from .._loose import mapping
from .manifests import Manifest, is_secret
from .ownership import applied_fields, merged, project
from .text import clean

HIDDEN_OTHER = "(hidden, another value)"
# kubectl keeps a copy of the whole manifest here.
_COPY = "kubectl.kubernetes.io/last-applied-configuration"


def difference(
    title: str, manifest: Manifest, before: Optional[dict[str, Any]], after: Optional[dict[str, Any]], manager: str
) -> dict[str, Any]:
    """One entry of a result's ``diff``.

    :param manifest: shown as it is where the server could not be asked (``after`` is None).
    :param before: the whole live object, None when there is none. :param after: what the server made of it.
    """
    fields = merged(applied_fields(before or {}, manager), applied_fields(after or {}, manager))
    old = _shown(before, fields) if before else {}
    new = _shown(after, fields) if after else dict(manifest)
    if is_secret(manifest):
        _mask(old, new)
    return {"before_header": title, "after_header": title, "before": old, "after": new}


def removal(title: str, live: dict[str, Any]) -> dict[str, Any]:
    """The entry for an object that goes."""
    return {"before_header": title, "after_header": title, "before": _identity(live), "after": {}}


def _identity(live: dict[str, Any]) -> dict[str, Any]:
    metadata = mapping(live.get("metadata"))
    return {
        "apiVersion": live.get("apiVersion"),
        "kind": live.get("kind"),
        "metadata": {field: metadata[field] for field in ("name", "namespace") if metadata.get(field)},
    }


def _shown(live: dict[str, Any], fields: dict[str, Any]) -> dict[str, Any]:
    identity = _identity(live)
    ours = project(live, fields) if fields else {}
    return {**ours, **identity, "metadata": {**identity["metadata"], **mapping(ours.get("metadata"))}}


def _mask(old: dict[str, Any], new: dict[str, Any]) -> None:
    """Replace values by what may be known of them; whether they differ stays visible."""
    had, has = mapping(old.get("data")), mapping(new.get("data"))
    if had:
        old["data"] = {name: _public(value) or HIDDEN for name, value in had.items()}
    if has:
        new["data"] = {
            name: _public(value) or (HIDDEN if not had or (name in had and had[name] == value) else HIDDEN_OTHER)
            for name, value in has.items()
        }
    for shown in (old, new):
        annotations = mapping(mapping(shown.get("metadata")).get("annotations"))
        if _COPY in annotations:
            shown["metadata"] = {**shown["metadata"], "annotations": {**annotations, _COPY: HIDDEN}}


def _public(value: Any) -> Any:
    """Facts about a value that holds nothing but certificates; they are public. None for any other."""
    try:
        text = base64.b64decode(str(value), validate=False).decode("latin-1")
        return [_facts(der) for der in _pem.der(text)] if _pem.is_all(text) else None
    except ValueError:
        return None


def _facts(der: bytes) -> str:
    facts = f"certificate SHA-256 {hashlib.sha256(der).hexdigest()}"
    try:
        from .._x509.library import x509

        certificate = x509.load_der_x509_certificate(der)
        return f"{facts}, {clean(certificate.subject.rfc4514_string(), 200)}, until {certificate.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}"
    except Exception:  # the library is missing, or this is no certificate: the fingerprint stands
        return facts
