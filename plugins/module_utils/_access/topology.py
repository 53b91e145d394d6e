"""gatewayTopology: what Envoy trusts of what stands before it, within the proxy configuration of a gateway's pods or of the whole mesh.

Only the keys that follow from the front are ours; whatever else stands in the same text stays.
"""

from __future__ import annotations

import json
from typing import Any, Optional

from .._errors import EdgeError

#: On a pod: the proxy's configuration, merged over the mesh's defaultConfig when the pod is made.
ANNOTATION = "proxy.istio.io/config"
# Read by the gateway's own agent (Istio 1.27 and later). Health checks that a load balancer sends to the status port come with a PROXY
# header where it sends one to every port; kubelet's come without. With this both are taken.
_STATUS_PORT = "ENVOY_STATUS_PORT_ENABLE_PROXY_PROTOCOL"
_HOPS, _PROXY = "numTrustedProxies", "proxyProtocol"

Config = dict[str, Any]
Front = dict[str, Any]


def wanted(front: Front) -> Config:
    """The ``gatewayTopology`` of this front; empty where the packet's own source is the client."""
    topology: Config = {}
    if front["hops"]:
        topology[_HOPS] = front["hops"]
    if front["kind"] == "tcp_proxy":
        topology[_PROXY] = {}
    return topology


def parsed(text: Optional[str], where: str) -> Config:
    """YAML, of which JSON is a part, as a mapping."""
    import yaml

    try:
        found = yaml.safe_load(text or "")
    except yaml.YAMLError:
        raise EdgeError("is not YAML", where=where, fix="Mend it, or remove it") from None
    if found is not None and not isinstance(found, dict):
        raise EdgeError("is no mapping", where=where, fix="Mend it, or remove it")
    return found or {}


def topology_of(config: Config) -> Config:
    """What of ``gatewayTopology`` is ours to judge. Written out in full by the API, a zero means nothing."""
    given = config.get("gatewayTopology") or {}
    return {**({_HOPS: int(given[_HOPS])} if given.get(_HOPS) else {}), **({_PROXY: {}} if given.get(_PROXY) is not None else {})}


def put(config: Config, topology: Config) -> Config:
    """``config`` with this topology and nothing of another."""
    rest = {key: value for key, value in config.items() if key not in ("gatewayTopology", "proxyMetadata")}
    kept = {key: value for key, value in (config.get("gatewayTopology") or {}).items() if key not in (_HOPS, _PROXY)}
    metadata = {key: value for key, value in (config.get("proxyMetadata") or {}).items() if key != _STATUS_PORT}
    if _PROXY in topology:
        metadata[_STATUS_PORT] = "true"
    parts = {"gatewayTopology": {**kept, **topology}, "proxyMetadata": metadata}
    return {**rest, **{key: value for key, value in parts.items() if value}}


def text_of(config: Config, before: Optional[str], where: str) -> Optional[str]:
    """``config`` as text; ``before`` itself where that says the same, None where there is nothing to say."""
    if before is not None and parsed(before, where) == config:
        return before
    return json.dumps(config, sort_keys=True, separators=(",", ":")) if config else None


def shown(topology: Config) -> str:
    """For a sentence."""
    words = [f"{topology[_HOPS]} trusted HTTP hop{'s' * (topology[_HOPS] > 1)}"] if _HOPS in topology else []
    words += ["PROXY protocol"] if _PROXY in topology else []
    return " and ".join(words) or "nothing trusted"
