# SPDX-License-Identifier: GPL-3.0-or-later
"""What a job tells the next one of its routes: names, ports, fingerprints and dates, nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .._loose import mapping
from .reading import Reading


def statistics(said: Reading, upstreams: Mapping[str, Any], secrets: list[Any]) -> dict[str, Any]:
    """For ``set_stats``.

    :param upstreams: lists of ``host:port`` by gateway name.
    :param secrets: ``results`` of tls_secret.
    """
    issued: dict[str, dict[str, Any]] = {}
    for each in secrets:
        certificate = mapping(each.get("certificate"))
        if certificate:
            found = {
                "secret": f"{each['namespace']}/{each['name']}",
                "sha256": certificate["sha256"],
                "not_after": certificate["not_after"],
            }
            issued.setdefault(certificate["sha256"], found)
    return {
        "list": said.list_name,
        "upstreams": dict(upstreams),
        "routes": [
            {
                "name": route.name,
                "list": route.list_name,
                "hosts": route.hosts,
                "mode": route.upstream_tls.mode,
                "gateway": route.gateway.name,
                "server_name": route.upstream_tls.server_name,
            }
            for route in said.routes
        ],
        "certificates": list(issued.values()),
    }
