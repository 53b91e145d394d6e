# SPDX-License-Identifier: GPL-3.0-or-later
"""A gateway's front, and its access rules."""

# ruff: noqa: RUF009 - of() makes fields, as dataclasses.field() does
from __future__ import annotations

import dataclasses
import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Optional, Union

from .. import _values as values
from .._schema import kinds
from .._schema.fields import boolean, choice, given, integer, list_of, mapping, nested, of, quoted, refuse, text, wrong_type
from .._schema.kinds import matching
from . import clouds

Network = Union[ipaddress.IPv4Network, ipaddress.IPv6Network]

HTTP_PROXY, TCP_PROXY, NETWORK_LB, NODE_PORT, NONE = FRONTS = ("http_proxy", "tcp_proxy", "network_lb", "node_port", "none")
# They say in a header who the client is.
PROXIES = (HTTP_PROXY, TCP_PROXY)
#: Clouds whose load balancers are asked for by annotations of the Service.
PROVIDERS = clouds.PROVIDERS
#: What a policy compares addresses with: the peer of the connection, or the client as Envoy worked it out from what its trusted front says.
IP_BLOCKS, REMOTE_IP_BLOCKS = MATCHES = ("ip_blocks", "remote_ip_blocks")


def network(value: Any, where: str) -> str:
    """An address or a CIDR without host bits, as ``address/length``."""
    result: str = kinds.typed(values.cidr, "an address or a network")(value, where)
    found = ipaddress.ip_network(result)
    if isinstance(found, ipaddress.IPv6Network) and found.network_address.ipv4_mapped is not None and found.prefixlen >= 96:
        raise refuse(where, f"{quoted(value)} is an IPv4 address in IPv6 form", "Write it as IPv4", why="Envoy compares it as IPv4")
    return result


def networks(value: Any, where: str) -> list[str]:
    """Addresses and CIDRs of which none lies within another."""
    found: list[str] = list_of(network)(value, where)
    apart(found, where)
    return found


def apart(found: Iterable[str], where: str) -> None:
    """Refuses networks that lie within others: one of the two is a slip, and which one only their author knows."""
    seen: list[Network] = []
    for each in map(ipaddress.ip_network, found):
        for other in seen:
            if each.version == other.version and each.overlaps(other):
                what = "is listed twice" if each == other else f"and {other} overlap"
                raise refuse(where, f"{each} {what}", "Remove the one that is not meant")
        seen.append(each)


path_pattern = matching(r"/[^\s*?#]*\*?|\*[^\s*?#]+", "a path", "Write /admin, /admin/* or *.php: one * at the end or at the start")
method = matching(r"[A-Z][A-Z-]{0,30}", "an HTTP method", "Write it in capitals, such as POST")
spiffe = matching(
    r"spiffe://[a-z0-9._-]+(/[A-Za-z0-9._-]+)+", "a SPIFFE identity",
    "Write it as spiffe://cluster.local/ns/shop/sa/web; for other names in client certificates use upstream_tls.client_names",
)  # fmt: skip


def claims(value: Any, where: str) -> dict[str, list[str]]:
    """Values by claim; ``a.b`` is claim b within claim a."""
    made = {}
    for key, wanted in mapping(value, where).items():
        name = matching(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*", "the name of a claim", "Write it as groups or realm.roles")(key, where)
        made[name] = list_of(text, some=True)(wanted if isinstance(wanted, (list, tuple, str)) else [wanted], f"{where}.{name}")
    return made


@dataclass(frozen=True)
class Rule:
    """Requests of which all that is given is true; a text is an address or a CIDR.

    ``identities`` are those of client certificates; ``claims`` those of a JWT that a RequestAuthentication has verified.
    """

    addresses: list[str] = of(networks, [])
    not_addresses: list[str] = of(networks, [])
    paths: list[str] = of(list_of(path_pattern), [])
    methods: list[str] = of(list_of(method), [])
    claims: dict[str, list[str]] = of(claims, {})
    identities: list[str] = of(list_of(spiffe), [])

    @staticmethod
    def shorthand(value: Any, where: str) -> dict[str, Any]:
        """One address."""
        if not isinstance(value, str):
            raise wrong_type(value, where, "an address, or a dictionary")
        return {"addresses": [network(value, where)]}

    def finished(self, where: str) -> Rule:
        """Something has to be said, and not both ways."""
        if not any(getattr(self, field.name) for field in dataclasses.fields(self)):
            raise refuse(where, "says nothing", "Give addresses, paths, methods, claims or identities")
        if self.addresses and self.not_addresses:
            raise refuse(f"{where}.not_addresses", "is given beside addresses", "Leave one out, or write two entries")
        return self

    @property
    def plain(self) -> bool:
        """Whether it is about addresses only."""
        return not (self.sees_requests or self.not_addresses)

    @property
    def sees_requests(self) -> bool:
        """Whether it is about more than connections."""
        return bool(self.paths or self.methods or self.claims or self.identities)


@dataclass(frozen=True)
class Access:
    """Access rules. With ``allow`` a request must match one of its entries; a request that matches ``deny`` is always refused."""

    allow: list[Rule] = of(list_of(nested(Rule)), [])
    deny: list[Rule] = of(list_of(nested(Rule)), [])
    match: Optional[str] = of(choice(*MATCHES), None)  # follows from the front
    allow_lockout: bool = of(boolean, False)

    @property
    def rules(self) -> list[Rule]:
        """The entries of both lists."""
        return [*self.allow, *self.deny]

    def finished(self, where: str) -> Access:
        """Refuse empty lists, and a ``deny`` of everybody."""
        for name in ("allow", "deny"):
            rules: list[Rule] = getattr(self, name)
            apart((each for rule in rules if rule.plain for each in rule.addresses), f"{where}.{name}")
        everybody = {each for rule in self.deny if rule.plain for each in rule.addresses if each.endswith("/0")}
        if everybody and not self.allow_lockout:
            raise refuse(f"{where}.deny", f"{', '.join(sorted(everybody))} is everybody", "Use allow, or set allow_lockout: true")
        return self


def access_given(value: Any, where: str) -> Optional[Access]:
    """None where nothing is said: ``{}``, and both lists empty."""
    made: Access = nested(Access)(value, where)
    return made if made.allow or made.deny else None


@dataclass(frozen=True)
class Front:
    """The proxy or load balancer before the gateway, seen from the mesh.

    ``hops``: trusted HTTP proxies that append to X-Forwarded-For. ``proxies``: addresses from which connections to the gateway come, and
    nobody else's are taken. ``health_checks``: addresses that send health checks to the gateway's own port.
    """

    kind: str = of(choice(*FRONTS), HTTP_PROXY)
    hops: int = of(integer(0, 20), -1)
    provider: Optional[str] = of(choice(*PROVIDERS), None)
    scope: str = of(choice("gateway", "mesh"), "gateway")  # whose gatewayTopology is set
    proxies: list[str] = of(networks, [])
    health_checks: list[str] = of(networks, [])

    @staticmethod
    def shorthand(value: Any, _where: str) -> dict[str, Any]:
        """The kind."""
        return {"kind": value}

    def finished(self, where: str) -> Front:
        """Hops where there are HTTP proxies, and only there."""
        hops = self.hops if self.hops >= 0 else int(self.kind == HTTP_PROXY)
        if self.kind == HTTP_PROXY and hops == 0:
            raise refuse(f"{where}.hops", "is 0, but kind is http_proxy", "Count the proxy, or set kind: none",
                         why="without a trusted proxy, a client can forge X-Forwarded-For")  # fmt: skip
        if hops and self.kind not in PROXIES:
            raise refuse(f"{where}.hops", f"is {hops}, but kind is {self.kind}", "Set kind: http_proxy, or leave hops out",
                         why="hops counts HTTP proxies only")  # fmt: skip
        if self.provider and clouds.wanted(self.provider, self.kind) is None:
            raise refuse(f"{where}.provider", f"{self.provider} makes no {self.kind} for a Service",
                         f"Choose one of: {', '.join(clouds.kinds(self.provider))}; or leave provider out")  # fmt: skip
        if self.proxies and self.kind not in PROXIES:
            raise refuse(f"{where}.proxies", f"is given, but kind is {self.kind}: there is no proxy", "Leave it out")
        return dataclasses.replace(self, hops=hops)

    @property
    def match(self) -> str:
        """By what clients are known here."""
        return REMOTE_IP_BLOCKS if self.kind in PROXIES else IP_BLOCKS


def fits(wanted: Optional[Access], front: Front, where: str) -> None:
    """Refuses a match that can't work behind this front."""
    if wanted is None or wanted.match in (None, front.match) or not given(wanted.match):
        return
    if wanted.match == IP_BLOCKS:
        raise refuse(f"{where}.match", f"ip_blocks can't tell clients apart behind {_called(front)}", "Leave match out",
                     why="there every connection comes from the proxy")  # fmt: skip
    raise refuse(f"{where}.match", f"remote_ip_blocks needs a trusted hop, and front.kind is {front.kind}",
                 "Leave match out, or set front",
                 why="without one, the address is either the connection's own or one that a client forged")  # fmt: skip


def _called(front: Front) -> str:
    return "an HTTP proxy" if front.kind == HTTP_PROXY else "a TCP proxy"
