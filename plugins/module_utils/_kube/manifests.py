# SPDX-License-Identifier: GPL-3.0-or-later
"""Manifests: what a user wants an object to be, checked and in the one form that the API keeps."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Optional

from .._errors import EdgeError
from .._plain import plain
from .resources import group_of
from .text import clean

#: An object as the API writes it.
Manifest = dict[str, Any]

# Kept by the server alone; in a manifest they are left-overs of an export.
_SERVER_OWNED = ("managedFields", "creationTimestamp", "deletionTimestamp", "generation", "resourceVersion", "selfLink", "uid")
_API_VERSION = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?(/[a-z0-9]+)?")


@dataclass(frozen=True)
class Key:
    """Which object: a kind has one object of a name in a namespace (empty = none), whatever the version."""

    group: str
    kind: str
    namespace: str
    name: str


def key_of(manifest: Manifest) -> Key:
    """The manifest's or object's key."""
    metadata = manifest["metadata"]
    return Key(group_of(manifest["apiVersion"]), manifest["kind"], metadata.get("namespace") or "", metadata["name"])


def is_secret(manifest: Manifest) -> bool:
    """True for a core Secret."""
    return manifest.get("kind") == "Secret" and manifest.get("apiVersion") == "v1"


def normalise(manifest: Manifest) -> Manifest:
    """A Secret's ``stringData`` moved into ``data``: as it stands the API would own it as another field, and each run change it."""
    if not is_secret(manifest) or "stringData" not in manifest:
        return manifest
    text = manifest["stringData"] or {}
    encoded = {name: base64.b64encode(str(value).encode("utf-8", "surrogatepass")).decode() for name, value in text.items()}
    rest = {name: value for name, value in manifest.items() if name != "stringData"}
    return {**rest, "data": {**(rest.get("data") or {}), **encoded}}


def contains(live: Any, wanted: Any) -> bool:
    """Whether all that ``wanted`` says is so in ``live``; what it does not mention does not count."""
    if isinstance(wanted, dict):
        return isinstance(live, dict) and all(contains(live.get(name), value) for name, value in wanted.items())
    if isinstance(wanted, list):
        return isinstance(live, list) and len(live) == len(wanted) and all(map(contains, live, wanted))
    return bool(live == wanted) or (live is None and wanted is None)


def parse(definitions: Any, files: Iterable[str] = ()) -> list[tuple[str, Any]]:
    """Definitions as a user gives them (a list, one mapping, or YAML text, also within the list), each with where it comes from.

    :param files: YAML files that follow.
    :raises EdgeError: for what can't be read.
    """
    # what a template without any object becomes
    given = [] if definitions is None else definitions
    parts = given if isinstance(given, list) else [given]
    found: list[tuple[str, Any]] = []
    for index, part in enumerate(parts):
        where = f"definitions[{index}]"
        found += _documents(part, where) if isinstance(part, str) else [(where, part)]
    for path in files:
        try:
            with open(path, encoding="utf-8") as file:
                text = file.read()
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            raise EdgeError(
                "this file can't be read", where=clean(path, 300), why=str(why), fix="Paths count on the host that runs the task"
            ) from None
        found += _documents(text, clean(path, 300))
    return found


def _documents(text: str, where: str) -> list[tuple[str, Any]]:
    try:
        import yaml
    except ImportError:
        raise EdgeError("the Python library PyYAML is missing", where=where, fix="Install it, or give mappings instead of text") from None
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        documents = list(yaml.load_all(text, Loader=loader))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        # The parser's own message quotes the text, which may be a Secret's.
        mark = getattr(error, "problem_mark", None)
        raise EdgeError("this is not YAML", where=where, why=f"line {mark.line + 1}, column {mark.column + 1}" if mark else "") from None
    return [(f"{where} document {index + 1}" if len(documents) > 1 else where, plain(each)) for index, each in enumerate(documents) if each]


def prepare(definitions: Iterable[tuple[str, Any]], namespace: Optional[str] = None) -> list[Manifest]:
    """Definitions as manifests that can be sent: Lists unpacked, checked for what every object needs, in order.

    :param definitions: (where it comes from, the definition).
    :param namespace: for objects that name none.
    :raises EdgeError: names the first definition that can't be an object, or is there twice.
    """
    manifests: list[Manifest] = []
    seen: dict[Key, str] = {}
    for where, definition in _flat(definitions):
        manifest = _checked(definition, where)
        if namespace and not manifest["metadata"].get("namespace"):
            manifest["metadata"]["namespace"] = namespace
        key = key_of(manifest)
        if key in seen:
            raise EdgeError(
                "the same object is listed twice", where=where, why=f"{clean(key.kind, 100)} {clean(key.name, 253)} is also {seen[key]}"
            )
        seen[key] = where
        manifests.append(manifest)
    return manifests


def _flat(definitions: Iterable[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
    for where, definition in definitions:
        if isinstance(definition, dict) and isinstance(definition.get("items"), list) and str(definition.get("kind", "")).endswith("List"):
            yield from _flat((f"{where}.items[{index}]", item) for index, item in enumerate(definition["items"]))
        elif isinstance(definition, list):
            yield from _flat((f"{where}[{index}]", item) for index, item in enumerate(definition))
        else:
            yield where, definition


def _checked(definition: Any, where: str) -> Manifest:
    if not isinstance(definition, dict):
        raise EdgeError(
            "this is no object",
            where=where,
            why=f"it is a {type(definition).__name__}",
            fix="Give a mapping with apiVersion, kind and metadata",
        )
    for field in ("apiVersion", "kind"):
        if not isinstance(definition.get(field), str) or not definition[field]:
            raise EdgeError(f"{field} is missing", where=where)
    api_version, kind = definition["apiVersion"], definition["kind"]
    if not _API_VERSION.fullmatch(api_version):
        raise EdgeError(
            "this is no API version", where=f"{where}.apiVersion", why=clean(api_version, 100), fix="Write it as group/version, or v1"
        )
    if not kind.isalnum() or not kind.isascii():
        raise EdgeError("this is no kind", where=f"{where}.kind", why=clean(kind, 100))
    metadata = definition.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    if isinstance(metadata, dict) and not name and metadata.get("generateName"):
        raise EdgeError(
            "generateName can't be applied", where=f"{where}.metadata", why="every run would make another object", fix="Give metadata.name"
        )
    if not isinstance(metadata, dict) or not isinstance(name, str) or not name:
        raise EdgeError("metadata.name is missing or no text", where=where, fix="Quote it if it is a number")
    namespace = metadata.get("namespace")
    if namespace is not None and not isinstance(namespace, str):
        raise EdgeError("metadata.namespace is no text", where=where, fix="Quote it if it is a number")
    manifest = {**definition, "metadata": {field: value for field, value in metadata.items() if field not in _SERVER_OWNED}}
    # A failure here must name the key and never the value; the API server's own message would quote it.
    if is_secret(manifest):
        _check_secret(manifest, where)
    return normalise(manifest)


def _check_secret(secret: Manifest, where: str) -> None:
    for field in ("data", "stringData"):
        content = secret.get(field)
        if content is None:
            continue
        if not isinstance(content, dict):
            raise EdgeError("this is no mapping", where=f"{where}.{field}")
        for name, value in content.items():
            if not isinstance(value, str):
                raise EdgeError(
                    "the value is no text", where=f"{where}.{field}[{clean(name, 253)}]", why=f"it is of type {type(value).__name__}"
                )
            if field == "data":
                try:
                    base64.b64decode(re.sub(r"[\r\n]", "", value), validate=True)
                except (binascii.Error, ValueError):
                    raise EdgeError(
                        "the value is not base64", where=f"{where}.data[{clean(name, 253)}]", fix="Encode it, or use stringData"
                    ) from None
