"""All that gateways and their routes ask of the cluster, from what is there now; and what of it interrupts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Optional

from .._errors import EdgeError
from .._loose import mapping, mappings
from .._routes.access import PROXIES
from .._schema.fields import refuse
from . import policies, settings, topology

#: On the Service that istiod makes for a Gateway of the Gateway API.
_GATEWAY_API = "gateway.networking.k8s.io/gateway-name"

Dict = dict[str, Any]


class Live:
    """What is in the cluster: objects as the API gave them.

    :param objects: Services, Deployments, DaemonSets and Pods of the gateways' namespaces, and the mesh's ConfigMap.
    """

    def __init__(self, objects: Iterable[Dict]) -> None:
        self._objects = list(objects)

    def of(self, kind: str, namespace: str) -> Iterator[Dict]:
        """Those of a kind in a namespace."""
        return (each for each in self.every(kind) if each["metadata"].get("namespace") == namespace)

    def every(self, kind: str) -> Iterator[Dict]:
        """Those of a kind."""
        return (each for each in self._objects if each.get("kind") == kind)

    def named(self, kind: str, namespace: str, name: str) -> Optional[Dict]:
        """One by name."""
        return next((each for each in self.of(kind, namespace) if each["metadata"]["name"] == name), None)

    def mesh(self) -> Iterator[Dict]:
        """The mesh's configuration."""
        return self.every("ConfigMap")

    def service(self, gateway: Dict) -> Optional[Dict]:
        """The gateway's Service."""
        return self.named("Service", gateway["namespace"], gateway["service"])

    def workloads(self, gateway: Dict) -> list[Dict]:
        """The Deployments or DaemonSets whose pods the gateway's Service selects."""
        wanted = selected(self.service(gateway))
        if not wanted:
            return []
        return [
            each
            for kind in ("Deployment", "DaemonSet")
            for each in self.of(kind, gateway["namespace"])
            if wanted.items() <= mapping(mapping(mapping(mapping(each.get("spec")).get("template")).get("metadata")).get("labels")).items()
        ]

    def pods(self, gateway: Dict) -> list[Dict]:
        """The gateway's pods that are to stay."""
        wanted = selected(self.service(gateway))
        found = [
            each
            for each in self.of("Pod", gateway["namespace"])
            if wanted and wanted.items() <= mapping(each["metadata"].get("labels")).items()
        ]
        return [each for each in found if not each["metadata"].get("deletionTimestamp") and _phase(each) in ("Pending", "Running")]


def plan(gateways: list[Dict], routes: list[Dict], live: Live, *, check: bool = False, sets_topology: bool = True) -> Dict:
    """What to apply for these gateways and routes.

    :returns: ``settings``, partial objects; ``policies``; ``restarted``, gateways whose pods change; ``interrupted``, why that is not
        lossless; ``missing``, gateways that aren't there yet; ``believed``, who could forge the address that lists go by.
    :raises EdgeError: where a gateway is not there (unless ``check``), or can't be what it is asked to be.
    """
    made: Dict = {"settings": [], "policies": [], "restarted": [], "interrupted": [], "missing": [], "believed": []}
    _agree(gateways)
    for gateway in gateways:
        service = live.service(gateway)
        workloads = live.workloads(gateway)
        if service is None or (sets_topology and not workloads):
            _missing(gateway, service, made, check)
            continue
        of_gateway = [route for route in routes if route["gateway"]["name"] == gateway["name"]]
        if sets_topology:
            _set(made, gateway, service, workloads, live)
        _verified(gateway, of_gateway, service, live)
        if gateway["access"] or any(route["access"] for route in of_gateway):
            made["believed"] += _believed(gateway)
        attach = attachment(gateway, service)
        made["policies"] += policies.of_gateway(gateway, attach)
        for route in of_gateway:
            made["policies"] += policies.of_route({**route, "gateway": gateway}, attach)
    return made


def _believed(gateway: Dict) -> list[str]:
    front = gateway["front"]
    if front["kind"] not in PROXIES or front["proxies"]:
        return []
    header = "X-Forwarded-For" if front["kind"] == "http_proxy" else "PROXY header"
    return [
        f"edge_gateways.{gateway['name']}.front: whoever reaches the gateway past the proxy is believed what it writes into the {header}. "
        "Name the proxies' own addresses (front.proxies), or keep others off the gateway's port by the network."
    ]


def restored(gateways: list[Dict], live: Live) -> list[Dict]:
    """Partial objects that put back what was there before."""
    found = {id(each): each for gateway in gateways for each in _touched(gateway, live)}
    restore = {"Service": settings.service, "ConfigMap": settings.mesh}
    return [restore.get(each["kind"], settings.workload)(each, None) for each in found.values()]


def _touched(gateway: Dict, live: Live) -> Iterator[Dict]:
    service = live.service(gateway)
    if service:
        yield service
    yield from live.workloads(gateway)
    yield from (each for each in live.mesh() if gateway["front"]["scope"] == "mesh")


def attachment(gateway: Dict, service: Dict) -> Dict:
    """How a policy finds the gateway: by the Gateway API's Gateway that it was made for, or by its pods' labels."""
    name = _target(service)
    if name:
        return {"targetRefs": [{"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": name}]}
    labels = gateway["selector"] or selected(service)
    if not labels:
        raise refuse(
            f"edge_gateways.{gateway['name']}",
            f"Service {gateway['namespace']}/{gateway['service']} selects no pods",
            "Give the gateway's selector",
        )
    return {"selector": {"matchLabels": labels}}


def selected(service: Optional[Dict]) -> Dict:
    """The labels of the pods behind a Service."""
    return mapping(mapping((service or {}).get("spec")).get("selector"))


def _target(service: Dict) -> Optional[str]:
    return mapping(service["metadata"].get("labels")).get(_GATEWAY_API)


def effective(pod: Dict) -> Optional[Dict]:
    """The topology that a gateway's pod started with; None where it doesn't say."""
    for container in mappings(mapping(pod.get("spec")).get("containers")):
        for variable in mappings(container.get("env")):
            if variable.get("name") == "PROXY_CONFIG":
                return topology.topology_of(topology.parsed(str(variable.get("value") or ""), f"Pod {pod['metadata']['name']}"))
    return None


def unlike(gateways: list[Dict], live: Live) -> list[str]:
    """Pods that trust something else than their gateway's front says, in words."""
    found = []
    for gateway in gateways:
        wanted = topology.wanted(gateway["front"])
        for pod in live.pods(gateway):
            is_now = effective(pod)
            if is_now is not None and is_now != wanted:
                found.append(f"Pod {pod['metadata']['namespace']}/{pod['metadata']['name']}: {topology.shown(is_now)}")
    return found


def _verified(gateway: Dict, routes: list[Dict], service: Dict, live: Live) -> None:
    """Refuses claims that nobody verifies: a list of ``deny`` by claims would let everybody in."""
    lists = [each["access"] for each in (gateway, *routes) if each["access"]]
    if not any(rule["claims"] for access in lists for rule in (*access["allow"], *access["deny"])):
        return
    labels = selected(service)
    for each in live.every("RequestAuthentication"):
        spec = mapping(each.get("spec"))
        chosen = mapping(mapping(spec.get("selector")).get("matchLabels"))
        own = each["metadata"].get("namespace") == gateway["namespace"]
        if spec.get("targetRefs"):
            fits = own and any(mapping(ref).get("name") == _target(service) for ref in mappings(spec["targetRefs"]))
        else:
            fits = chosen.items() <= labels.items() and (own or not chosen)
        if fits:
            return
    raise refuse(
        f"edge_gateways.{gateway['name']}",
        "access names claims, but no RequestAuthentication verifies tokens here",
        "Make one for this gateway",
        why="a token that nobody has verified has no claims, so that a denial by them never fits",
    )


def _set(made: Dict, gateway: Dict, service: Dict, workloads: list[Dict], live: Live) -> None:
    front = gateway["front"]
    wanted = topology.wanted(front)
    now = [found for found in map(effective, live.pods(gateway)) if found is not None]
    if any(found != wanted for found in now):
        made["restarted"].append(gateway["name"])
    proxied = sorted({topology.shown(found) for found in now if ("proxyProtocol" in found) != ("proxyProtocol" in wanted)})
    if proxied:
        made["interrupted"].append(f"edge_gateways.{gateway['name']}: from {' and '.join(proxied)} to {topology.shown(wanted)}")
    known = [(each["kind"], each["metadata"]) for each in made["settings"]]
    for each in (*workloads, service):
        change = settings.service(each, front) if each is service else settings.workload(each, front)
        # Two entries of one Service, such as one for each of its ports.
        if not any(change["kind"] == kind and change["metadata"] == metadata for kind, metadata in known):
            made["settings"].append(change)
    if front["scope"] == "mesh":
        found_mesh = next(live.mesh(), None)
        if found_mesh is None:
            raise EdgeError(
                "the mesh's configuration is not there", where=f"edge_gateways.{gateway['name']}.front.scope",
                fix="Set gateway_access_control_istio_namespace and gateway_access_control_mesh_config, or scope: gateway",
            )  # fmt: skip
        if not any(each["kind"] == "ConfigMap" for each in made["settings"]):
            made["settings"].append(settings.mesh(found_mesh, front))


def _missing(gateway: Dict, service: Optional[Dict], made: Dict, check: bool) -> None:
    name = f"{gateway['namespace']}/{gateway['service']}"
    if check:
        made["missing"].append(gateway["name"])
        return
    what = f"there is no Service {name}" if service is None else f"no Deployment or DaemonSet makes the pods of Service {name}"
    raise refuse(f"edge_gateways.{gateway['name']}", what, "Install the gateway (role istio), or name the right Service")


def _agree(gateways: list[Dict]) -> None:
    """Two entries for one Service, or two that speak for the mesh, say the same of what stands before them."""
    seen: Dict = {}
    for gateway in gateways:
        keys = [f"Service {gateway['namespace']}/{gateway['service']}", *(["the mesh"] if gateway["front"]["scope"] == "mesh" else [])]
        for key in keys:
            other = seen.setdefault(key, gateway)
            if other["front"] != gateway["front"]:
                raise refuse(
                    f"edge_gateways.{gateway['name']}.front",
                    f"differs from that of {other['name']}, and both are of {key}",
                    "Make them equal",
                )


def _phase(pod: Dict) -> str:
    return str(mapping(pod.get("status")).get("phase") or "Running")
