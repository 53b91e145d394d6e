"""What follows from a front for objects that are somebody else's: the gateway's Deployment and Service, and the mesh's configuration.

They are partial objects for server-side apply under a field manager of our own: what they don't name is left alone, and what they no
longer name goes back to what it would be without us. What somebody had set themselves is noted on the object before it is changed, and
put back from there.
"""

from __future__ import annotations

import json
from typing import Any, Optional

from .._kube.ownership import applied_fields
from .._loose import mapping
from .._routes import clouds
from .._schema.fields import refuse
from . import topology

#: Whoever applies under the collection's usual name (role istio does) would remove these fields, and these would remove theirs.
FIELD_MANAGER = "edgemesh-access"
#: What our fields were before, as JSON; null for what was not there.
BEFORE = "edgemesh.nginx-istio/before"
_MESH, _POLICY, _ROLLOUT = "mesh", "externalTrafficPolicy", "strategy"
# A new pod first, and kube-proxies time to know it, before an old one goes: no connection finds nobody.
_LOSSLESS = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
# kind -> where it stands, and what the API makes of a manifest that says nothing
_ROLLOUTS: dict[str, tuple[str, Any]] = {
    "Deployment": ("strategy", {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}}),
    "DaemonSet": ("updateStrategy", {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}),
}

Dict = dict[str, Any]


class Noted:
    """What we change of one object: new values, and what was there before."""

    def __init__(self, live: Dict) -> None:
        self.live = live
        self.before: Dict = json.loads(_annotations(live).get(BEFORE) or "{}")
        self._fields = applied_fields(live, FIELD_MANAGER)

    def note(self, name: str, live: Any, wanted: Any) -> None:
        """Remember ``live`` the first time that it becomes something else."""
        if live != wanted and name not in self.before:
            self.before[name] = live

    def kept(self, name: str, *path: str) -> bool:
        """Whether a field is to stay as it is although it is ours: as others have it too, or as an earlier teardown has put it back."""
        fields = self._fields
        for step in path:
            if f"f:{step}" not in fields:
                return False
            fields = mapping(fields[f"f:{step}"])
        return name not in self.before

    def original(self, name: str) -> Any:
        """What was there before; None where nothing was, or nothing of ours is."""
        return self.before.get(name)

    def manifest(self, annotations: Dict, **parts: Any) -> Dict:
        """The partial object."""
        noted = {BEFORE: json.dumps(self.before, sort_keys=True)} if self.before else {}
        place = self.live["metadata"]
        metadata: Dict = {"name": place["name"], "namespace": place["namespace"]}
        if annotations or noted:
            metadata["annotations"] = {**annotations, **noted}
        return {"apiVersion": self.live["apiVersion"], "kind": self.live["kind"], "metadata": metadata, **parts}


def needs_local(front: Dict) -> bool:
    """Whether the packet's source has to be the true one: as the client's address, or as the proxy's."""
    return front["kind"] in ("network_lb", "node_port") or bool(front["proxies"])


def workload(live: Dict, front: Optional[Dict]) -> Dict:
    """The gateway's Deployment or DaemonSet, for a front; None puts back what was."""
    where = f"{live['kind']} {live['metadata']['namespace']}/{live['metadata']['name']}"
    template = _annotations(mapping(mapping(live["spec"].get("template"))))
    noted = Noted(live)
    text = template.get(topology.ANNOTATION)
    rollout, standard = _ROLLOUTS[live["kind"]]
    spec: Dict = {rollout: live["spec"].get(rollout)} if noted.kept(_ROLLOUT, "spec", rollout) else {}
    ours_as_it_is = noted.kept(topology.ANNOTATION, "spec", "template", "metadata", "annotations", topology.ANNOTATION)
    made = _topology_text(noted, topology.ANNOTATION, text, front, where)
    if made is not None or ours_as_it_is:
        made = text if made is None else made
        spec["template"] = {"metadata": {"annotations": {topology.ANNOTATION: made}}}
    if front is None:
        if noted.original(_ROLLOUT) not in (None, standard):
            spec[rollout] = noted.original(_ROLLOUT)
        noted.before = {}
    elif made is not None or _ROLLOUT in noted.before:
        noted.note(_ROLLOUT, live["spec"].get(rollout), _LOSSLESS)
        spec[rollout] = _LOSSLESS
    return noted.manifest({}, **({"spec": spec} if spec else {}))


def service(live: Dict, front: Optional[Dict]) -> Dict:
    """The gateway's Service, for a front; None puts back what was."""
    where = f"Service {live['metadata']['namespace']}/{live['metadata']['name']}"
    noted, current = Noted(live), _annotations(live)
    policy = live["spec"].get(_POLICY)
    told = clouds.wanted(front["provider"], front["kind"]) or {} if front else {}
    spec: Dict = {}
    if front and needs_local(front):
        if live["spec"].get("type") not in ("NodePort", "LoadBalancer"):
            raise refuse(
                where,
                f"is of type {live['spec'].get('type')}: no packet from outside reaches it",
                "Make it a NodePort or LoadBalancer, or set front.kind: none",
            )
        noted.note(_POLICY, policy, "Local")
        spec[_POLICY] = "Local"
    elif noted.original(_POLICY) not in (None, "Cluster"):
        spec[_POLICY] = noted.original(_POLICY)
    elif noted.kept(_POLICY, "spec", _POLICY):
        spec[_POLICY] = policy
    annotations: Dict = {}
    for name in sorted(clouds.every_annotation()):
        if name in told:
            noted.note(name, current.get(name), told[name])
            annotations[name] = told[name]
        elif noted.original(name) is not None:
            annotations[name] = noted.original(name)
        elif noted.kept(name, "metadata", "annotations", name) and name in current:
            annotations[name] = current[name]
    if front is None:
        noted.before = {}
    return noted.manifest(annotations, **({"spec": spec} if spec else {}))


def mesh(live: Dict, front: Optional[Dict]) -> Dict:
    """The ConfigMap of the mesh's configuration, for a front of scope ``mesh``; None puts back what was."""
    where = f"ConfigMap {live['metadata']['namespace']}/{live['metadata']['name']}"
    noted = Noted(live)
    text = mapping(live.get("data")).get(_MESH)
    ours_as_it_is = noted.kept(_MESH, "data", _MESH)
    made = _topology_text(noted, _MESH, text, front, where, within="defaultConfig")
    if made is None and ours_as_it_is:
        made = text
    if front is None:
        noted.before = {}
    return noted.manifest({}, **({"data": {_MESH: made}} if made is not None else {}))


def _topology_text(noted: Noted, name: str, text: Optional[str], front: Optional[Dict], where: str, within: str = "") -> Optional[str]:
    """The text with the front's topology; None where it is not ours to say."""
    changed, original = name in noted.before, noted.original(name)
    if front is None and not changed:
        return None
    ours = topology.wanted(front) if front else _topology(original, where, within)
    live = topology.parsed(text, where)
    made = _put(live, ours, within)
    if front and not ours and not changed and made == live:
        return None
    result = topology.text_of(made, text, where)
    if original is not None:
        # As it was written, where that says it. What stood there before may lack the status port's variable.
        then = topology.parsed(original, where)
        if made == (then if front else _put(then, ours, within)):
            result = original
    if front:
        if result is None and text is not None and (original is not None or not changed):
            # Server-side apply can't take away what is somebody else's.
            result = "{}"
        noted.note(name, text, result)
    return result


def _topology(text: Optional[str], where: str, within: str) -> Dict:
    return topology.topology_of(_part(topology.parsed(text, where), within))


def _part(config: Dict, within: str) -> Dict:
    return mapping(config.get(within)) if within else config


def _put(config: Dict, ours: Dict, within: str) -> Dict:
    """The configuration with this topology, at its top or within a key."""
    inner = topology.put(_part(config, within), ours)
    if not within:
        return inner
    rest = {key: value for key, value in config.items() if key != within}
    return {**rest, within: inner} if inner else rest


def _annotations(live: Dict) -> dict[str, str]:
    return {str(name): str(value) for name, value in mapping(mapping(live.get("metadata")).get("annotations")).items()}
