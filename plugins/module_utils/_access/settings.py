# SPDX-License-Identifier: GPL-3.0-or-later
"""The changes that a front asks of objects that are not ours: the gateway's Deployment and Service, and the mesh's configuration.

They are partial objects for server-side apply under a field manager of our own: fields that they don't name are left alone, and fields
that they no longer name go. The value that a field had before us is noted on the object, and restored from there.
"""

from __future__ import annotations

import json
from typing import Any, Optional

from .._kube.ownership import applied_fields
from .._loose import mapping
from .._routes import clouds
from .._routes.access import NETWORK_LB, NODE_PORT, Front
from .._schema.fields import refuse
from . import topology
from .live import Manifest
from .topology import Config, Topology

#: Whoever applies under the collection's usual name (role istio does) would remove these fields, and these would remove theirs.
FIELD_MANAGER = "edgemesh-access"
#: What our fields were before, as JSON; null for what was not there.
BEFORE = "edgemesh.nginx-istio/before"
_MESH, _POLICY, _ROLLOUT = "mesh", "externalTrafficPolicy", "strategy"
# A new pod is ready, and kube-proxies know it, before an old one ends: every connection finds a pod.
_LOSSLESS = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
# kind -> where it stands, and what the API makes of a manifest that says nothing
_ROLLOUTS: dict[str, tuple[str, Any]] = {
    "Deployment": ("strategy", {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}}),
    "DaemonSet": ("updateStrategy", {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}),
}


class Noted:
    """The values that the fields we change of one object had before us."""

    def __init__(self, live: Manifest) -> None:
        self.live = live
        self.before: dict[str, Any] = json.loads(_annotations(live).get(BEFORE) or "{}")
        self._fields = applied_fields(live, FIELD_MANAGER)

    def note(self, name: str, live: Any, wanted: Any) -> None:
        """Remember a field's live value before we change it for the first time."""
        if live != wanted and name not in self.before:
            self.before[name] = live

    def kept(self, name: str, *path: str) -> bool:
        """Whether we own a field without a noted value, so it must keep its current value.

        Somebody else owns it too with the same value, or an earlier teardown has restored it.
        """
        fields = self._fields
        for step in path:
            if f"f:{step}" not in fields:
                return False
            fields = mapping(fields[f"f:{step}"])
        return name not in self.before

    def original(self, name: str) -> Any:
        """The noted value; None where the field was not there, and where nothing is noted."""
        return self.before.get(name)

    def manifest(self, annotations: dict[str, str], **parts: Any) -> Manifest:
        """The partial object."""
        noted = {BEFORE: json.dumps(self.before, sort_keys=True)} if self.before else {}
        place = self.live["metadata"]
        metadata: Manifest = {"name": place["name"], "namespace": place["namespace"]}
        if annotations or noted:
            metadata["annotations"] = {**annotations, **noted}
        return {"apiVersion": self.live["apiVersion"], "kind": self.live["kind"], "metadata": metadata, **parts}


def needs_local(front: Front) -> bool:
    """Whether the gateway has to see the real source of connections: policies know clients by it, or the proxies that may connect."""
    return front.kind in (NETWORK_LB, NODE_PORT) or bool(front.proxies)


def workload(live: Manifest, front: Optional[Front]) -> Manifest:
    """The gateway's Deployment or DaemonSet, for a front; None restores what was there before us."""
    where = f"{live['kind']} {live['metadata']['namespace']}/{live['metadata']['name']}"
    template = _annotations(mapping(mapping(live["spec"].get("template"))))
    noted = Noted(live)
    text = template.get(topology.ANNOTATION)
    rollout, standard = _ROLLOUTS[live["kind"]]
    spec: Manifest = {rollout: live["spec"].get(rollout)} if noted.kept(_ROLLOUT, "spec", rollout) else {}
    ours_as_it_is = noted.kept(topology.ANNOTATION, "spec", "template", "metadata", "annotations", topology.ANNOTATION)
    made = _topology_text(noted, topology.ANNOTATION, text, front, where, within="")
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


def service(live: Manifest, front: Optional[Front]) -> Manifest:
    """The gateway's Service, for a front; None restores what was there before us."""
    where = f"Service {live['metadata']['namespace']}/{live['metadata']['name']}"
    noted, current = Noted(live), _annotations(live)
    policy = live["spec"].get(_POLICY)
    told = clouds.wanted(front.provider, front.kind) or {} if front else {}
    spec: Manifest = {}
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
    annotations: dict[str, str] = {}
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


def mesh(live: Manifest, front: Optional[Front]) -> Manifest:
    """The ConfigMap of the mesh's configuration, for a front of scope ``mesh``; None restores what was there before us."""
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


def _topology_text(noted: Noted, name: str, text: Optional[str], front: Optional[Front], where: str, within: str) -> Optional[str]:
    """The text of a configuration with the front's topology, or with that of before us; None where we have nothing to say.

    :param name: the field that holds the text.
    :param text: what it holds now.
    :param within: the key of the configuration that has the topology; its top if empty.
    """
    if front is None:
        return _restored(noted, name, text, where, within) if name in noted.before else None
    config, wanted, original = topology.parsed(text, where), topology.wanted(front), noted.original(name)
    made = _put(config, wanted, within)
    if wanted == Topology() and made == config and name not in noted.before:
        return None
    as_before = original is not None and made == topology.parsed(original, where)
    result = original if as_before else topology.text_of(made, text, where)
    was_absent = name in noted.before and original is None
    if result is None and text is not None and not was_absent:
        # Server-side apply can't take away a field that somebody else owns too.
        result = "{}"
    noted.note(name, text, result)
    return result


def _restored(noted: Noted, name: str, text: Optional[str], where: str, within: str) -> Optional[str]:
    """Restore the topology of before us; keep later changes by others."""
    original = noted.original(name)
    before = topology.parsed(original, where)
    trusted = topology.topology_of(_part(before, within))
    made = _put(topology.parsed(text, where), trusted, within)
    # The noted text may lack the status port's variable, which goes with a topology.
    as_before = original is not None and made == _put(before, trusted, within)
    return original if as_before else topology.text_of(made, text, where)


def _part(config: Config, within: str) -> Config:
    return mapping(config.get(within)) if within else config


def _put(config: Config, trusted: Topology, within: str) -> Config:
    """The configuration with this topology, at its top or within a key."""
    inner = topology.put(_part(config, within), trusted)
    if not within:
        return inner
    rest = {key: value for key, value in config.items() if key != within}
    return {**rest, within: inner} if inner else rest


def _annotations(live: Manifest) -> dict[str, str]:
    return {str(name): str(value) for name, value in mapping(mapping(live.get("metadata")).get("annotations")).items()}
