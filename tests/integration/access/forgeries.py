# SPDX-License-Identifier: GPL-3.0-or-later
"""How a client that is denied may pretend to be one that is allowed."""

from __future__ import annotations

from dataclasses import dataclass

from lab import settings
from tests.integration.access.wire import proxy_v1, proxy_v2

FORWARDED = "X-Forwarded-For"


@dataclass(frozen=True)
class Forgery:
    """Header lines, and bytes before the request.

    :param malformed: whether somebody on the way may refuse it as no proper HTTP before it comes to any policy.
    :param counts: whether one trusted hop too many would believe it on every front: what the test of the test looks for.
    """

    name: str
    lines: tuple[str, ...] = ()
    first: bytes = b""
    malformed: bool = False
    counts: bool = False


def forgeries(allowed: str, own: str, hops: tuple[str, ...]) -> list[Forgery]:
    """All that are known.

    :param allowed: whom to pretend to be.
    :param own: the client's own address.
    :param hops: addresses of hosts on the way: a list that ends in them looks as if it had passed them.
    """
    node = settings.NODE_IP6 if ":" in allowed else settings.NODE_IP
    bracketed = f"[{allowed}]" if ":" in allowed else allowed

    def listed(name: str, *addresses: str, counts: bool = False, header: str = FORWARDED) -> Forgery:
        return Forgery(name, (f"{header}: {', '.join(addresses)}",), counts=counts)

    return [
        listed("list of one", allowed, counts=True),
        listed("list of two", allowed, allowed, counts=True),
        listed("list of five", *[allowed] * 5, counts=True),
        listed("list of two hundred", *[allowed] * 200, counts=True),
        listed("empty list", ""),
        listed("empty entries", "", allowed, ""),
        listed("no addresses", "unknown", "_hidden", allowed, counts=True),
        listed("allowed, then own", allowed, own),
        listed("own, then allowed", own, allowed, counts=True),
        listed("as if it had passed the hops", allowed, *hops),
        listed("as if it had passed them twice", allowed, *hops, *hops),
        listed("as if it had passed the node", allowed, node),
        listed("from loopback", allowed, "127.0.0.1"),
        listed("with port", f"{bracketed}:443"),
        listed("in brackets", f"[{allowed}]"),
        listed("mapped into IPv6", allowed if ":" in allowed else f"::ffff:{allowed}"),
        listed("in lower case", allowed, header="x-forwarded-for", counts=True),
        listed("with underscores", allowed, header="X_Forwarded_For"),
        Forgery("two lists", (f"{FORWARDED}: {own}", f"{FORWARDED}: {allowed}"), counts=True),
        Forgery("two lists, both allowed", (f"{FORWARDED}: {allowed}",) * 2, counts=True),
        # RFC 9110, 7.6.1: a proxy that obeys removes the list.
        Forgery("list named by Connection", (f"Connection: close, {FORWARDED}", f"{FORWARDED}: {allowed}"), malformed=True),
        Forgery("X-Real-IP", (f"X-Real-IP: {allowed}",)),
        Forgery("Forwarded", (f'Forwarded: for="{bracketed}"',)),
        Forgery("Forwarded of two", (f'Forwarded: for="{bracketed}", for={own}',)),
        Forgery("X-Envoy-External-Address", (f"X-Envoy-External-Address: {allowed}",)),
        Forgery("external and list", (f"X-Envoy-External-Address: {allowed}", f"{FORWARDED}: {allowed}"), counts=True),
        Forgery("X-Envoy-Internal", ("X-Envoy-Internal: true", f"{FORWARDED}: {allowed}"), counts=True),
        *(Forgery(name, (f"{name}: {allowed}",)) for name in ("True-Client-IP", "CF-Connecting-IP", "X-Client-IP", "X-Cluster-Client-IP")),
        Forgery("X-Original-Forwarded-For", (f"X-Original-Forwarded-For: {allowed}",)),
        Forgery("PROXY v1", first=proxy_v1(allowed, node), malformed=True),
        Forgery("PROXY v1, twice", first=proxy_v1(own, node) + proxy_v1(allowed, node), malformed=True),
        Forgery("PROXY v1, unknown", (f"{FORWARDED}: {allowed}",), first=b"PROXY UNKNOWN\r\n", malformed=True),
        Forgery("PROXY v2", first=proxy_v2(allowed, node), malformed=True),
        Forgery("PROXY v2, local", (f"{FORWARDED}: {allowed}",), first=proxy_v2(allowed, node, command=0), malformed=True),
        Forgery("PROXY v1 and v2", first=proxy_v1(allowed, node) + proxy_v2(allowed, node), malformed=True),
    ]
