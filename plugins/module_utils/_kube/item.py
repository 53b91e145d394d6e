# SPDX-License-Identifier: GPL-3.0-or-later
"""One object of a change, and what becomes of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Optional

from .._errors import EdgeError
from .._lists import Owner
from .._loose import mapping
from .errors import ApiError
from .labels import owner
from .manifests import Key, Manifest, key_of
from .ready import GATEWAY, Reason
from .resources import Resource
from .text import clean

#: Stages: namespaces and kinds; objects that others refer to; all others.
FOUNDATION, SUPPORT, REST = 0, 1, 2
_STAGES = {
    ("", "Namespace"): FOUNDATION,
    ("apiextensions.k8s.io", "CustomResourceDefinition"): FOUNDATION,
    **{("", kind): SUPPORT for kind in ("Secret", "ConfigMap", "ServiceAccount", "ResourceQuota", "LimitRange", "PersistentVolume")},
    **{("rbac.authorization.k8s.io", kind): SUPPORT for kind in ("Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding")},
    ("scheduling.k8s.io", "PriorityClass"): SUPPORT,
    ("storage.k8s.io", "StorageClass"): SUPPORT,
    ("networking.k8s.io", "IngressClass"): SUPPORT,
    (GATEWAY, "GatewayClass"): SUPPORT,
}


@dataclass
class Item:
    """``manifest`` is what is wanted, ``before`` and ``after`` what the cluster had and has.

    :ivar action: created, changed, unchanged, deleted, absent; in check mode would_create, would_change, would_delete;
        failed; skipped (an earlier stage failed).
    :ivar missing: the cluster lacks its kind or its namespace.
    :ivar not_ready: why not.
    """

    manifest: Manifest
    resource: Optional[Resource] = None
    before: Optional[dict[str, Any]] = None
    after: Optional[dict[str, Any]] = None
    action: str = ""
    note: str = ""
    not_ready: Reason = ""
    missing: Optional[ApiError] = None
    error: Optional[EdgeError] = None
    pruned: bool = False
    key: Key = field(init=False)

    def __post_init__(self) -> None:
        self.key = key_of(self.manifest)

    @property
    def namespace(self) -> Optional[str]:
        """None for objects that are in none."""
        return self.key.namespace or None

    @property
    def api_version(self) -> str:
        """The version in which the manifest speaks."""
        return str(self.manifest["apiVersion"])

    @property
    def stage(self) -> int:
        """When it is applied."""
        return _STAGES.get((self.key.group, self.key.kind), REST)

    @property
    def title(self) -> str:
        """As people write it: "Secret shop/web"."""
        place = f"{self.key.namespace}/{self.key.name}" if self.key.namespace else self.key.name
        return clean(f"{self.key.kind} {place}", 600)

    @property
    def changed(self) -> bool:
        """Whether this run changed it, or would."""
        return self.action in ("created", "changed", "deleted", "would_create", "would_change", "would_delete")

    @property
    def going(self) -> bool:
        """Whether the existing object is being deleted."""
        return bool(mapping((self.before or {}).get("metadata")).get("deletionTimestamp"))

    def fail(self, error: EdgeError) -> None:
        """Note why it failed."""
        self.action, self.error = "failed", error

    def result(self) -> dict[str, Any]:
        """The entry in the module's ``results``; never any of the object's content."""
        metadata = mapping((self.after or self.before or {}).get("metadata"))
        whose = owner(self.before or {}) if self.pruned else Owner()
        optional = {
            "uid": metadata.get("uid"),
            "resource_version": metadata.get("resourceVersion"),
            "note": self.note,
            "not_ready": str(self.not_ready),
            "error": self.error.as_result() if self.error else None,
            "pruned": self.pruned,
            **({"list": whose.list_name, "route": whose.route} if whose.route else {}),
        }
        return {
            "api_version": self.api_version,
            "kind": self.key.kind,
            "namespace": self.key.namespace,
            "name": self.key.name,
            "action": self.action,
            "changed": self.changed,
            **{name: value for name, value in optional.items() if value},
        }


def grouped(items: list[Item]) -> dict[tuple[Resource, Optional[str]], list[Item]]:
    """Items by kind and namespace: what one LIST, or one watch, covers. Those of an unknown kind are left out."""
    groups: dict[tuple[Resource, Optional[str]], list[Item]] = {}
    for item in items:
        if item.resource:
            groups.setdefault((item.resource, item.namespace), []).append(item)
    return groups
