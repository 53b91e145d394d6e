# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a gateway is reached: the ``server`` lines of an upstream."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ... import _values as values
from ..._errors import EdgeError
from ..._routes.parts import Gateway
from .blocks import Settings

#: Stands for addresses that only the run can find out, in check mode. nginx must be able to test the rest.
UNKNOWN = "192.0.2.1:443"


@dataclass(frozen=True)
class Addresses:
    """``servers`` for the upstream, ``lookup`` names that somebody has to resolve for nginx, ``known`` false for a stand-in."""

    servers: tuple[str, ...]
    resolver: str
    lookup: tuple[str, ...]
    known: bool

    @property
    def zone(self) -> str:
        """The size of the shared memory: a server's state and its TLS session, which takes up to 4k; a name may become several."""
        return f"{64 + 8 * len(self.servers) + (64 if self.resolver else 0)}k"


def addresses(gateway: Gateway, upstreams: Mapping[str, Sequence[Any]], settings: Settings, where: str) -> Addresses:
    """The addresses of a gateway.

    :param upstreams: gateway name to ``address:port``; the gateway's own ``addresses`` stand in where it has none.
    :raises EdgeError: where there is none, or one is not an address.
    """
    given = [*(upstreams.get(gateway.name) or gateway.addresses)]
    known = bool(given) and not any(str(one).startswith("(known after") for one in given)
    if not known and not settings.check:
        raise EdgeError(
            f"no address is known for gateway {gateway.name}", where=f"{where}.gateway",
            fix="Give its addresses in edge_gateways, or in nginx_offload_upstreams", code="BAD_ROUTE",
        )  # fmt: skip
    servers: list[str] = []
    lookup: list[str] = []
    named = False
    for number, one in enumerate(given if known else [UNKNOWN]):
        place = f"nginx_offload_upstreams.{gateway.name}[{number}]"
        checked = values.endpoint(one, place)
        host, _colon, port = checked.rpartition(":")
        if host.startswith("[") or host.replace(".", "").isdigit():
            servers.append(checked)
        elif settings.resolves:
            named = True
            servers.append(f"{checked} resolve")
        elif settings.resolved.get(host):
            # sorted: DNS answers in any order
            servers += sorted(f"{values.address(address, f'{place} ({host})')}:{port}" for address in settings.resolved[host])
            lookup.append(host)
        else:
            servers.append(checked)
            lookup.append(host)
    resolver = " ".join(values.address(one, f"nginx_offload_resolvers[{i}]") for i, one in enumerate(settings.resolvers)) if named else ""
    return Addresses(tuple(dict.fromkeys(servers)), resolver, tuple(dict.fromkeys(lookup)), known)
