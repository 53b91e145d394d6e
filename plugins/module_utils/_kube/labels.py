# SPDX-License-Identifier: GPL-3.0-or-later
"""How objects of ours are recognised, by us and by others."""

from __future__ import annotations

from collections.abc import Mapping

#: On every object that belongs to a route; what does not carry it is never pruned.
MANAGED_BY: dict[str, str] = {"app.kubernetes.io/managed-by": "edgemesh"}
#: Holds the route's name.
ROUTE_LABEL = "edgemesh.nginx-istio/route"
#: Holds the role, or the part of one, that made an object and removes it again.
COMPONENT = "app.kubernetes.io/component"
#: Owner of the fields we apply (server-side apply).
FIELD_MANAGER = "edgemesh"


def selector(labels: Mapping[str, str]) -> str:
    """``labels`` as the API's ``labelSelector``: all must match."""
    return ",".join(f"{name}={value}" for name, value in sorted(labels.items()))
