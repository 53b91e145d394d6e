# SPDX-License-Identifier: GPL-3.0-or-later
"""How a request arrives at a gateway: a marked request through the front, and its line in the gateway's access log.

The request carries X-Forwarded-For with one address of ours. Whatever proxies are on the way append to it, Envoy itself appends the
connection's source as it knows it, and the log shows the result whatever the gateway trusts. So behind our address there is one entry
for each HTTP hop and one for the gateway.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from .._address import ip
from .._mesh import accesslog
from .._routes.access import Front
from .._routes.parts import Gateway
from .._schema.fields import refuse

#: Nobody's address (TEST-NET-1): where it is missing from the list, a proxy has thrown away what the client wrote.
MARKER = "192.0.2.77"


@dataclass(frozen=True)
class Seen:
    """One request as it arrived.

    :ivar chain: from the address that the outermost HTTP hop wrote, or the connection's source where there is none, to the gateway's own.
    :ivar client: the address that the gateway took for the client's.
    :ivar replaced: a proxy threw the client's own X-Forwarded-For away.
    """

    entry: str
    chain: list[str]
    client: str
    replaced: bool

    @property
    def hops(self) -> int:
        """HTTP proxies on the way."""
        return len(self.chain) - 1


def seen(entry: str, lines: list[str], agent: str) -> Optional[Seen]:
    """The request that called itself ``agent``; None where no line shows it, or none that holds addresses."""
    found = accesslog.find(lines, agent)
    chain = accesslog.forwarded(found) if found else []
    if not found or not chain:
        return None
    replaced = MARKER not in chain
    if not replaced:
        chain = chain[len(chain) - chain[::-1].index(MARKER) :]
    if not chain:
        return None
    return Seen(entry, chain, plain(accesslog.remote(found)), replaced)


def client(arrived: Seen, front: Front, source: bool) -> str:
    """The address that policies will know the client by, once the front is as declared; "" where that can't be told yet.

    :param source: whether the connection's source is already what it will be (no address translation, PROXY protocol on).
    """
    if front.hops:
        return arrived.chain[-1 - front.hops] if len(arrived.chain) > front.hops else ""
    return arrived.chain[-1] if source else ""


def fits(arrived: Seen, gateway: Gateway) -> None:
    """Refuses a front that is not what the request came through."""
    hops = gateway.front.hops
    if arrived.hops == hops:
        return
    came = f"a request through {arrived.entry} came by {arrived.hops or 'no'} HTTP prox{'y' if arrived.hops == 1 else 'ies'}"
    way = " -> ".join([*arrived.chain, "gateway"])
    raise refuse(
        f"edge_gateways.{gateway.name}.front", f"says {hops} hop{'' if hops == 1 else 's'}, but {came}",
        f"Set it to {_kind(arrived)}, or set gateway_access_control_entries to the addresses that clients use",
        why=f"addresses on the way: {way}; " + (
            "the gateway would believe an address that a client forges in X-Forwarded-For" if hops > arrived.hops
            else "all clients would have a proxy's address"
        ),
    )  # fmt: skip


def _kind(arrived: Seen) -> str:
    return f"kind: http_proxy with hops: {arrived.hops}" if arrived.hops else "node_port, network_lb, tcp_proxy or none"


def plain(address: str) -> str:
    """An address in its one spelling, without brackets; "" for anything else, such as a name or a scope, which no policy compares."""
    return "" if "%" in address else ip(address)
