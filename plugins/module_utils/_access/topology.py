# SPDX-License-Identifier: GPL-3.0-or-later
"""gatewayTopology: what Envoy trusts of what stands before it, within the proxy configuration of a gateway's pods or of the whole mesh.

Only the keys that follow from the front are ours; whatever else stands in the same text stays.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Optional

from .._errors import EdgeError
from .._routes.access import TCP_PROXY, Front

#: On a pod: the proxy's configuration, merged over the mesh's defaultConfig when the pod is made.
ANNOTATION = "proxy.istio.io/config"
# Read by the gateway's own agent (Istio 1.27 and later). Health checks that a load balancer sends to the status port come with a PROXY
# header where it sends one to every port; kubelet's come without. With this both are taken.
_STATUS_PORT = "ENVOY_STATUS_PORT_ENABLE_PROXY_PROTOCOL"
_HOPS, _PROXY = "numTrustedProxies", "proxyProtocol"

#: A proxy configuration as its YAML has it.
Config = dict[str, Any]


@dataclass(frozen=True)
class Topology:
    """What a gateway trusts of what stands before it.

    :ivar hops: HTTP proxies that append to X-Forwarded-For.
    :ivar proxy_protocol: every connection begins with a PROXY header.
    """

    hops: int = 0
    proxy_protocol: bool = False

    def __str__(self) -> str:
        """For a sentence."""
        words = [f"{self.hops} trusted HTTP hop{'s' * (self.hops > 1)}"] if self.hops else []
        words += ["PROXY protocol"] if self.proxy_protocol else []
        return " and ".join(words) or "nothing trusted"


def wanted(front: Front) -> Topology:
    """The topology that follows from this front."""
    return Topology(front.hops, front.kind == TCP_PROXY)


def parsed(text: Optional[str], where: str) -> Config:
    """YAML, of which JSON is a part, as a mapping."""
    import yaml

    try:
        found = yaml.safe_load(text or "")
    except yaml.YAMLError:
        raise EdgeError("is not YAML", where=where, fix="Correct it, or remove it") from None
    if found is not None and not isinstance(found, dict):
        raise EdgeError("is no mapping", where=where, fix="Correct it, or remove it")
    return found or {}


def topology_of(config: Config) -> Topology:
    """The topology in a configuration. The API may write it out in full, with a zero for nothing."""
    given = config.get("gatewayTopology") or {}
    return Topology(int(given.get(_HOPS) or 0), given.get(_PROXY) is not None)


def put(config: Config, topology: Topology) -> Config:
    """``config`` with this topology in place of its own."""
    rest = {key: value for key, value in config.items() if key not in ("gatewayTopology", "proxyMetadata")}
    given = {key: value for key, value in (config.get("gatewayTopology") or {}).items() if key not in (_HOPS, _PROXY)}
    metadata = {key: value for key, value in (config.get("proxyMetadata") or {}).items() if key != _STATUS_PORT}
    if topology.hops:
        given[_HOPS] = topology.hops
    if topology.proxy_protocol:
        given[_PROXY], metadata[_STATUS_PORT] = {}, "true"
    return {**rest, **({"gatewayTopology": given} if given else {}), **({"proxyMetadata": metadata} if metadata else {})}


def text_of(config: Config, before: Optional[str], where: str) -> Optional[str]:
    """``config`` as text: ``before`` itself where it says the same, None for an empty configuration."""
    if before is not None and parsed(before, where) == config:
        return before
    return json.dumps(config, sort_keys=True, separators=(",", ":")) if config else None
