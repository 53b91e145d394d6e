# SPDX-License-Identifier: GPL-3.0-or-later
"""The access rules of a run's gateways and routes, and which policies the run decides about."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from .._kube.labels import MANAGED_BY, selector
from .._lists import Run
from .._routes.access import Access
from .._routes.parts import Gateway
from .._routes.reading import Reading
from .._routes.schema import Route
from . import policies, standing
from .live import Live, Manifest
from .standing import Policy

#: An entry of k8s_objects_info's ``queries``.
Query = dict[str, Any]
_KINDS = (("v1", "Service"), ("v1", "Pod"), ("apps/v1", "Deployment"), ("apps/v1", "DaemonSet"))


@dataclass(frozen=True)
class Declared:
    """Gateways, each once, the routes through them, and the run that declares them.

    :ivar named: the gateways that are listed, so that the run decides whether they have access of their own.
    """

    gateways: list[Gateway]
    routes: list[Route]
    run: Run
    named: frozenset[str]

    @classmethod
    def of(cls, read: Reading) -> Declared:
        """The gateways that are listed, and those that the schema has made for routes."""
        every = {each.name: each for each in [*read.gateways, *(route.gateway for route in read.routes)]}
        return cls(list(every.values()), read.routes, read.run, frozenset(gateway.name for gateway in read.gateways))

    def through(self, gateway: Gateway) -> list[Route]:
        """The routes of a gateway."""
        return [route for route in self.routes if route.gateway.name == gateway.name]

    @property
    def lists(self) -> list[Access]:
        """Every ``access`` that is given."""
        given = [*(gateway.access for gateway in self.gateways), *(route.access for route in self.routes)]
        return [each for each in given if each]

    @property
    def restricts(self) -> bool:
        """Whether anybody is kept out: by a list, or because only the front's proxies may connect."""
        return bool(self.lists) or any(gateway.front.proxies for gateway in self.gateways)

    @property
    def guarded(self) -> list[Route]:
        """The routes that a list is about: their own, or their gateway's."""
        return [route for route in self.routes if route.access or route.gateway.access]

    @property
    def namespaces(self) -> list[str]:
        """Where the gateways are."""
        return list(dict.fromkeys(gateway.namespace for gateway in self.places))

    @property
    def places(self) -> list[Gateway]:
        """The gateways at which policies of the list may stand: without any, the one that the schema would make."""
        return self.gateways or [Gateway(name="main")]

    def decides(self, policy: Policy) -> bool:
        """Whether the run makes this policy or takes it away; it leaves all others as they are."""
        if policy.namespace not in self.namespaces:
            return False
        if policy.gateway and not self.run.exclusive:
            return policy.owner.list_name == self.run.list_name and policy.gateway in self.named
        return self.run.takes(policy.owner)

    def taken(self, live: Live, made: Iterable[Manifest] = ()) -> list[Manifest]:
        """The policies that go, to be removed.

        :param made: the policies that the run applies.
        """
        kept = {(each["metadata"]["namespace"], each["metadata"]["name"]) for each in made}
        return [policy.reference for policy in standing.every(live) if policy.key not in kept and self.decides(policy)]

    def staying(self, live: Live) -> list[Policy]:
        """The policies that are not this run's."""
        return [policy for policy in standing.every(live) if not self.decides(policy)]

    def policy_queries(self) -> list[Query]:
        """What to read of the cluster: policies of ours at the gateways; those of all gateways where one speaks for the whole mesh."""
        everywhere = any(gateway.front.scope == "mesh" for gateway in self.gateways)
        ours: Query = {
            "api_version": policies.API_VERSION,
            "kind": policies.KIND,
            "label_selectors": [selector({**MANAGED_BY, **policies.COMPONENT})],
        }
        return [ours] if everywhere else [{**ours, "namespace": namespace} for namespace in self.namespaces]

    def queries(self, istio_namespace: str, mesh_config: str) -> list[Query]:
        """What to read of the cluster: policies, the gateways and, where needed, who verifies tokens and the mesh's configuration.

        :param istio_namespace: where istiod is.
        :param mesh_config: the name of the ConfigMap with the mesh's configuration.
        """
        found = self.policy_queries()
        found += [
            {"api_version": version, "kind": kind, "namespace": namespace} for namespace in self.namespaces for version, kind in _KINDS
        ]
        if any(gateway.front.scope == "mesh" for gateway in self.gateways):
            found.append({"kind": "ConfigMap", "namespace": istio_namespace, "name": mesh_config})
        if any(rule.claims for access in self.lists for rule in access.rules):
            for namespace in dict.fromkeys([*self.namespaces, istio_namespace]):
                found.append({"api_version": policies.API_VERSION, "kind": "RequestAuthentication", "namespace": namespace})
        return found
