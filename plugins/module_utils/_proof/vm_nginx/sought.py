# SPDX-License-Identifier: GPL-3.0-or-later
"""Role verify: the Services that it asks the cluster about before the proofs of routes through VMs are planned."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from ..._routes.reading import Reading
from ..._schema.fields import given, mapping


def sought(said: Reading, upstreams: Any) -> dict[str, list[dict[str, Any]]]:
    """What to ask.

    :param upstreams: the gateways' addresses by gateway name, where they are given; then no gateway is looked for.
    :returns: ``gateways``, Services for node_port_info; ``apps``, Services for pod_port_info.
    """
    known = given(upstreams) and mapping(upstreams, "verify_upstreams")
    used = {} if known else {route.gateway.name: route.gateway for route in said.routes if route.gateway.address != "addresses"}
    return {
        "gateways": [{"namespace": each.namespace, "name": each.service, "ports": [each.port]} for each in used.values()],
        "apps": [asdict(each) for each in dict.fromkeys(path.service for route in said.routes for path in route.paths)],
    }
