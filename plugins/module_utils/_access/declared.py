# SPDX-License-Identifier: GPL-3.0-or-later
"""The access rules of a run's gateways and routes, and the objects of the cluster that they need."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .._routes.access import Access
from .._routes.parts import Gateway
from .._routes.reading import Reading
from .._routes.schema import Route
from . import policies

#: An entry of k8s_objects_info's ``queries``.
Query = dict[str, Any]
_KINDS = (("v1", "Service"), ("v1", "Pod"), ("apps/v1", "Deployment"), ("apps/v1", "DaemonSet"))


@dataclass(frozen=True)
class Declared:
    """Gateways, each once, and the routes through them."""

    gateways: list[Gateway]
    routes: list[Route]

    @classmethod
    def of(cls, read: Reading) -> Declared:
        """The gateways that are listed, and those that the schema has made for routes."""
        every = {each.name: each for each in [*read.gateways, *(route.gateway for route in read.routes)]}
        return cls(list(every.values()), read.routes)

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
        return list(dict.fromkeys(gateway.namespace for gateway in self.gateways))

    def queries(self, istio_namespace: str, mesh_config: str) -> list[Query]:
        """What to read of the cluster: the gateways and, where needed, who verifies tokens and the mesh's configuration.

        :param istio_namespace: where istiod is.
        :param mesh_config: the name of the ConfigMap with the mesh's configuration.
        """
        found: list[Query] = [
            {"api_version": version, "kind": kind, "namespace": namespace} for namespace in self.namespaces for version, kind in _KINDS
        ]
        if any(gateway.front.scope == "mesh" for gateway in self.gateways):
            found.append({"kind": "ConfigMap", "namespace": istio_namespace, "name": mesh_config})
        if any(rule.claims for access in self.lists for rule in access.rules):
            for namespace in dict.fromkeys([*self.namespaces, istio_namespace]):
                found.append({"api_version": policies.API_VERSION, "kind": "RequestAuthentication", "namespace": namespace})
        return found

    def prune(self) -> dict[str, Any]:
        """What k8s_objects takes as ``prune``: policies of ours in the gateways' namespaces; nothing where there is no gateway."""
        kinds = [{"api_version": policies.API_VERSION, "kind": policies.KIND, "namespace": each} for each in self.namespaces]
        return {"labels": policies.COMPONENT, "kinds": kinds} if kinds else {}
