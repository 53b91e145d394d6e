# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose fields are whose: reading ``metadata.managedFields`` (server-side apply)."""

from __future__ import annotations

import json
from typing import Any

from .._loose import mapping, mappings

Fields = dict[str, Any]


def applied_entry(live: dict[str, Any], manager: str) -> dict[str, Any]:
    """What the API notes of ``manager``'s applying: fields, and when it last changed one; empty when it never applied."""
    for entry in mappings(mapping(live.get("metadata")).get("managedFields")):
        if entry.get("manager") == manager and entry.get("operation") == "Apply" and not entry.get("subresource"):
            return entry
    return {}


def applied_fields(live: dict[str, Any], manager: str) -> Fields:
    """The fields that ``manager`` has applied to ``live``, as the API writes them (FieldsV1); empty when it has none."""
    return mapping(applied_entry(live, manager).get("fieldsV1"))


def merged(left: Fields, right: Fields) -> Fields:
    """All fields of both."""
    return {name: merged(mapping(left.get(name)), mapping(right.get(name))) for name in {**left, **right}}


def project(value: Any, fields: Fields) -> Any:
    """The part of ``value`` that ``fields`` names, without additions by others or the server's defaults."""
    inner = {name: mapping(below) for name, below in fields.items() if name != "."}
    if not inner:
        return type(value)() if "." in fields and isinstance(value, (dict, list)) else value
    if isinstance(value, dict):
        named = ((name[2:], below) for name, below in inner.items() if name.startswith("f:"))
        return {name: project(value[name], below) for name, below in named if name in value}
    if isinstance(value, list):
        chosen = ((item, _element(index, item, inner)) for index, item in enumerate(value))
        return [project(item, below) for item, below in chosen if below is not None]
    return value


def _element(index: int, item: Any, fields: dict[str, Fields]) -> Fields | None:
    """The fields named for a list's element: by key (``k:``), value (``v:``) or index (``i:``)."""
    for name, below in fields.items():
        mark, _colon, text = name.partition(":")
        if mark == "i" and text == str(index):
            return below
        if mark not in ("k", "v"):
            continue
        try:
            wanted = json.loads(text)
        except ValueError:
            continue
        if mark == "v" and item == wanted:
            return {}
        if (
            mark == "k"
            and isinstance(item, dict)
            and isinstance(wanted, dict)
            and all(item.get(key) == word for key, word in wanted.items())
        ):
            return below
    return None
