# SPDX-License-Identifier: GPL-3.0-or-later
"""The Secrets that routes through a VM's nginx need."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Union

from .._secrets.entries import Reference
from .._secrets.needs import Need, Signer
from .parts import Authority, Gateway, SecretName
from .reading import LEAVES, Reading
from .schema import GATEWAY_ROUTES, Route


def needs(reading: Reading) -> list[Need]:
    """The Secrets that routes need: certificates, CA certificates, and at each gateway the CA of its clients."""
    ca = Reference(reading.namespace, reading.ca)
    found = []
    for route in reading.routes:
        mine = [_issuable(kind, need, ca, reading.issue) for kind, need in _certificates(route)]
        found += [replace(need, user=route.name) for need in (*mine, *_authorities(route))]
    return found


def places(reading: Reading) -> list[str]:
    """The namespaces where Secrets of the list's routes may be: of routes that are gone, too."""
    gateways = [*reading.gateways, *(route.gateway for route in reading.routes)] or [Gateway(name="main")]
    return list(dict.fromkeys([reading.namespace, *(gateway.namespace for gateway in gateways)]))


def _certificates(route: Route) -> Iterator[tuple[str, Need]]:
    """Each with its word in ``edge_issue``."""
    tls, listen, gateway, title = route.upstream_tls, route.listen, route.gateway, f"in route {route.name}"
    if not gateway.istio_gateway and tls.mode != "passthrough":
        # If nginx passes TLS on, clients verify the gateway by the requested host.
        names = route.hosts if listen.mode == "passthrough" else [tls.server_name]
        place, who = Reference(gateway.namespace, tls.credential), f"gateway {gateway.name} {title}"
        yield "gateway", Need(who, place, "gateway", "server", names, _signer(tls.server_ca), labels=GATEWAY_ROUTES)
    if tls.client_certificate and tls.client_certificate.secret:
        place, signer = _reference(tls.client_certificate.secret), _signer(tls.client_ca or tls.server_ca)
        who = f"nginx as a client of gateway {gateway.name} {title}"
        yield "client", Need(who, place, "tls", "client", tls.client_names, signer)
    if listen.certificate and listen.certificate.secret:
        place = _reference(listen.certificate.secret)
        yield "listener", Need(f"nginx as a server {title}", place, "tls", "server", route.hosts)


def _issuable(kind: str, need: Need, ca: Reference, issue: list[str]) -> Need:
    """The need with ``issue`` from ``edge_issue``, or with the value of ``edge_issue`` that would issue it."""
    if kind in issue or need.signer not in (Signer.ANYBODY, ca):
        return replace(need, issue=kind in issue)
    return replace(need, way_out=f"edge_issue: [{', '.join(each for each in LEAVES if each in (kind, *issue))}]")


def _authorities(route: Route) -> Iterator[Need]:
    tls, gateway = route.upstream_tls, route.gateway
    for authority, peer in ((tls.server_ca, f"gateway {gateway.name}"), (tls.client_ca, f"the clients of gateway {gateway.name}")):
        if authority and authority.secret:
            yield Need(f"whoever verifies {peer} in route {route.name}", _reference(authority.secret), "gateway_ca")
    if tls.mode == "mutual" and not gateway.istio_gateway and tls.client_ca and tls.client_ca.secret:
        place, source = Reference(gateway.namespace, f"{tls.credential}-cacert"), _reference(tls.client_ca.secret)
        who = f"gateway {gateway.name} as verifier of its clients in route {route.name}"
        yield Need(who, place, "gateway_ca", copy_of=source, labels=GATEWAY_ROUTES)


def _signer(authority: Authority) -> Union[Reference, Signer]:
    return _reference(authority.secret) if authority.secret else Signer.CA_IN_A_FILE


def _reference(secret: SecretName) -> Reference:
    return Reference(secret.namespace, secret.name)
