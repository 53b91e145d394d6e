# SPDX-License-Identifier: GPL-3.0-or-later
"""A policy of ours as it stands in the cluster: whose it is, the front that it was made for, and the requests that it denies."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Optional

from .._kube import labels
from .._lists import Owner
from .._loose import mapping, mappings
from .._routes.access import Front
from .._routes.parts import Gateway
from .._routes.schema import Route
from . import policies
from .live import Live, Manifest
from .lockout import within


@dataclass(frozen=True)
class Policy:
    """One AuthorizationPolicy with our labels, of whatever list.

    :ivar live: as the API gave it.
    """

    live: Manifest

    @property
    def owner(self) -> Owner:
        """Whose it is."""
        return labels.owner(self.live)

    @property
    def spec(self) -> Manifest:
        """What it says, and of which pods."""
        return mapping(self.live.get("spec"))

    @property
    def name(self) -> str:
        """Its name."""
        return str(self.live["metadata"]["name"])

    @property
    def namespace(self) -> str:
        """Its namespace, which is its gateway's."""
        return str(self.live["metadata"]["namespace"])

    @property
    def key(self) -> tuple[str, str]:
        """Namespace and name."""
        return self.namespace, self.name

    @property
    def gateway(self) -> str:
        """The gateway's name in its list, if the policy is the gateway's own; empty for a route's."""
        if self.owner.route:
            return ""
        found = mapping(self.live["metadata"].get("labels")).get(policies.GATEWAY_LABEL)
        # Before there were lists, only the name said it.
        return str(found or self.name[len(policies.GATEWAY_NAME) :].rpartition("-")[0])

    @property
    def of_proxies(self) -> bool:
        """Whether it only keeps out who is not the front's proxy."""
        return bool(self.gateway) and self.name.endswith(policies.PROXIES)

    @property
    def front(self) -> dict[str, Any]:
        """What :func:`.policies.noted` noted of the front that it was made for; empty from before there were lists."""
        noted = json.loads(mapping(self.live["metadata"].get("annotations")).get(policies.FRONT) or "{}")
        return mapping(noted)

    def made_for(self, front: Front) -> bool:
        """Whether it was made for this front."""
        return self.front == policies.noted(front)

    @property
    def reference(self) -> Manifest:
        """To remove it."""
        metadata = {"name": self.name, "namespace": self.namespace}
        return {"apiVersion": policies.API_VERSION, "kind": policies.KIND, "metadata": metadata}

    @property
    def addresses(self) -> list[str]:
        """All addresses and networks that it names."""
        sources = [mapping(each.get("source")) for rule in mappings(self.spec.get("rules")) for each in mappings(rule.get("from"))]
        return [str(block) for source in sources for field, found in source.items() if field.endswith("pBlocks") for block in found]

    def denies(self, route: Route, client: str) -> bool:
        """Whether it denies the route's own probe, which has neither a token nor an identity, from this address or all of this network."""
        return not self.of_proxies and any(_matches(rule, route, client) for rule in mappings(self.spec.get("rules")))


def every(live: Live) -> list[Policy]:
    """All of them, by name."""
    return sorted((Policy(each) for each in live.every(policies.KIND)), key=lambda policy: policy.key)


def at(policy: Policy, gateway: Gateway, live: Live) -> bool:
    """Whether it applies to the gateway's pods."""
    if policy.namespace != gateway.namespace:
        return False
    if policy.spec.get("targetRefs"):
        return any(ref.get("name") == live.target(gateway) for ref in mappings(policy.spec["targetRefs"]))
    chosen = mapping(mapping(policy.spec.get("selector")).get("matchLabels"))
    return any(chosen.items() <= each.items() for each in live.pod_labels(gateway))


def _matches(rule: Manifest, route: Route, client: str) -> bool:
    def within_any(found: Iterable[str]) -> bool:
        return within(client, found)

    def source(part: Manifest) -> bool:
        return _fits(part, "ipBlocks", within_any) and _fits(part, "remoteIpBlocks", within_any) and _fits(part, "principals", _nobody)

    def operation(part: Manifest) -> bool:
        return (
            _fits(part, "hosts", lambda found: any(like(route.host, each) for each in found))
            and _fits(part, "paths", lambda found: any(like(route.probe.path, each) for each in found))
            and _fits(part, "methods", lambda found: route.probe.method in found)
        )

    def condition(part: Manifest) -> bool:
        sni = part.get("key") == "connection.sni"
        return _fits(part, "values", lambda found: sni and any(like(route.upstream_tls.server_name, each) for each in found))

    sources = [mapping(each.get("source")) for each in mappings(rule.get("from"))]
    operations = [mapping(each.get("operation")) for each in mappings(rule.get("to"))]
    return (
        (not sources or any(map(source, sources)))
        and (not operations or any(map(operation, operations)))
        and all(map(condition, mappings(rule.get("when"))))
    )


def _fits(part: Manifest, field: str, test: Callable[[list[str]], bool]) -> bool:
    """A field and its negation, of which each holds where it is not given."""
    negated: Optional[list[str]] = part.get(f"not{field[0].upper()}{field[1:]}")
    return (field not in part or test(part[field])) and (negated is None or not test(negated))


def _nobody(_found: list[str]) -> bool:
    return False


def like(text: str, pattern: str) -> bool:
    """Istio's patterns: one ``*`` at the start or at the end."""
    if pattern.startswith("*"):
        return text.endswith(pattern[1:])
    return text.startswith(pattern[:-1]) if pattern.endswith("*") else text == pattern
