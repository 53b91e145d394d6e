# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets in memory with the API server's manners that matter here: resourceVersion, uid, conflicts, immutable types."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

from plugins.module_utils._kube.errors import ApiError


class Cluster:
    """``before[verb]`` is called ahead of a request, to let somebody else be faster."""

    def __init__(self) -> None:
        self.secrets: dict[tuple[str, str], dict[str, Any]] = {}
        self.requests: list[str] = []
        self.before: dict[str, Callable[[], None]] = {}
        self.version = 0
        #: kinds and namespaces (None: the whole cluster) that may not be listed
        self.unlistable: set[tuple[str, str | None]] = set()

    def get(self, kind: str, name: str, namespace: str | None = None) -> dict[str, Any] | None:
        self._enter("get", f"{namespace}/{name}")
        return copy.deepcopy(self.secrets.get(self._place(kind, namespace, name)))

    def list(
        self, kind: str, namespace: str | None = None, labels: str | None = None, *, metadata_only: bool = False
    ) -> tuple[list[dict[str, Any]], str]:
        self._enter("list", f"{kind} {namespace or '*'}")
        if (kind, namespace) in self.unlistable or (namespace is None and (kind, None) in self.unlistable):
            raise ApiError("may not", status=403, reason="Forbidden", code="FORBIDDEN")
        assert metadata_only, "nobody needs the content of all Secrets"
        wanted = dict(each.split("=") for each in (labels or "").split(",") if each)
        found = [
            {"kind": kind, "metadata": copy.deepcopy(each["metadata"])}
            for each in self.secrets.values()
            if each.get("kind", "Secret") == kind
            and namespace in (None, each["metadata"]["namespace"])
            and wanted.items() <= (each["metadata"].get("labels") or {}).items()
        ]
        return found, str(self.version)

    def create(self, manifest: dict[str, Any]) -> dict[str, Any]:
        key = self._key(manifest)
        self._enter("create", "/".join(key))
        if key in self.secrets:
            raise ApiError("it exists", status=409, reason="AlreadyExists", code="ALREADY_EXISTS")
        return self.put(manifest)

    def replace(self, manifest: dict[str, Any]) -> dict[str, Any]:
        key = self._key(manifest)
        self._enter("replace", "/".join(key))
        there = self.secrets.get(key)
        if there is None or manifest["metadata"].get("resourceVersion") != there["metadata"]["resourceVersion"]:
            raise ApiError("it has changed", status=409, reason="Conflict", code="MODIFIED")
        assert manifest.get("type") == there.get("type"), "the API server refuses to change a Secret's type"
        return self.put(manifest)

    def delete(self, kind: str, name: str, namespace: str | None = None, uid: str | None = None, *, version: str | None = None) -> None:
        self._enter("delete", f"{namespace}/{name}")
        key = self._place(kind, namespace, name)
        there = self.secrets.get(key)
        if there is not None and uid in (None, there["metadata"]["uid"]):
            if version not in (None, there["metadata"]["resourceVersion"]):
                raise ApiError("it has changed", status=409, reason="Conflict", code="MODIFIED")
            del self.secrets[key]

    def put(self, manifest: dict[str, Any]) -> dict[str, Any]:
        """Store it, whoever writes."""
        self.version += 1
        stored = json.loads(json.dumps(manifest))
        there = self.secrets.get(self._key(manifest))
        uid = there["metadata"]["uid"] if there else f"uid-{self.version}"
        stored["metadata"].update(
            resourceVersion=str(self.version), uid=uid, managedFields=stored["metadata"].get("managedFields") or [{"manager": "somebody"}]
        )
        self.secrets[self._key(manifest)] = stored
        return copy.deepcopy(stored)

    def _enter(self, verb: str, what: str) -> None:
        self.requests.append(f"{verb} {what}")
        action = self.before.pop(verb, None)
        if action:
            action()

    def _key(self, manifest: dict[str, Any]) -> tuple[str, str]:
        return self._place(manifest.get("kind", "Secret"), manifest["metadata"]["namespace"], manifest["metadata"]["name"])

    @staticmethod
    def _place(kind: str, namespace: str | None, name: str) -> tuple[str, str]:
        return (str(namespace) if kind == "Secret" else f"{kind} {namespace}"), name
