# SPDX-License-Identifier: GPL-3.0-or-later
"""The kind as a whole."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any, Optional

from ..._mesh.gateways import upstreams
from ..._nginx.commands import shell
from ..._routes.reading import Reading
from ..._routes.schema import Route
from ..kind import Kind, Summary
from ..model import Proof
from . import configured, files
from .catalogue import CHAIN, CHECKS
from .causes import CAUSES
from .machine import Given, Machine
from .plan import plan
from .rules import RULES


class VmNginx(Kind):
    """Client, nginx on a VM, gateway of the mesh, app."""

    name = "vm_nginx"
    chain = CHAIN
    checks = CHECKS
    causes = CAUSES
    rules = RULES
    unlike = "NGINX_UNLIKE_REPLAY"
    given = Given

    def routes(self, text: str, groups: Optional[Sequence[str]] = None) -> list[Route]:
        """See :class:`Kind`."""
        return [route for route in Reading.of(text).routes if groups is None or route.on in groups]

    def look(self, routes: list[Route], given: Given) -> dict[str, str]:
        """nginx's configuration, and the certificates that lie there."""
        paths = files.paths(routes, given.material)
        nginx = {"nginx": shell(given.nginx, "-v", "-T")} if routes else {}
        return {**nginx, **({"files": shlex.join([*files.COMMAND, *paths])} if paths else {})}

    def plan(self, routes: list[Route], given: Given, printed: Mapping[str, str]) -> list[Proof]:
        """See :class:`Kind`."""
        nginx, found = configured.read(routes, printed.get("nginx", ""), given.echo_path), files.read(printed.get("files", ""))
        machine = Machine(
            gateways=given.gateways or upstreams(routes, given.services, given.check),
            nginx=nginx.upstreams,
            nginx_unknown=nginx.unknown,
            turns=nginx.turns,
            trust=files.trust(routes, found, given.material, given.listener_ca),
            fingerprints=files.fingerprints(found),
        )
        return plan(routes, machine, given)

    def certificates(self, routes: list[Route], given: Given, printed: Mapping[str, str]) -> list[dict[str, Any]]:
        """See :class:`Kind`."""
        return files.certificates(routes, given.here, files.read(printed.get("files", "")), given.material)

    def summary(self, route: Route) -> Summary:
        """See :class:`Kind`."""
        tls, probe, services = route.upstream_tls, route.probe, [path.service for path in route.paths]
        facts = {
            "mode": tls.mode,
            "gateway": f"{route.gateway.namespace}/{route.gateway.service}",
            "server_name": tls.server_name,
            "services": [f"{service.namespace}/{service.name}:{service.port}" for service in services],
            "probe": {"path": probe.path, "status": probe.status, "method": probe.method},
            "passes_tls": route.listen.mode == "passthrough",
        }
        return Summary(route.host, f"gateway TLS {tls.mode}", f"no VM of this run serves it (group {route.on})", facts)


KIND: Kind = VmNginx()
