# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a route's certificates lie on a VM."""

from __future__ import annotations

from typing import Optional

from ..._probe.spec import Client
from ..._routes.parts import KeyPair
from ..._routes.places import file_of
from ..._routes.schema import Route


def public_files(route: Route, tls_dir: str) -> dict[str, str]:
    """The files that are read for the report: certificates only, never keys; "" where the route has none.

    Keys: ``listener`` and ``listener_ca`` (what clients see, and what vouches for it), ``gateway_ca`` (what vouches for the gateway),
    ``client`` (what nginx shows to the gateway). Where nginx passes TLS on, clients see the gateway's certificate.
    """
    own, client = gateway_ca(route, tls_dir), client_certificate(route, tls_dir)
    if route.listen.mode == "passthrough":
        return {"listener": "", "listener_ca": own, "gateway_ca": own, "client": ""}
    certificate = route.listen.certificate or KeyPair()
    secret = certificate.secret
    return {
        "listener": certificate.cert_file or (file_of(tls_dir, secret, "tls.crt") if secret else ""),
        "listener_ca": file_of(tls_dir, secret, "ca.crt") if secret else "",
        "gateway_ca": own,
        "client": client.cert_file if client else "",
    }


def gateway_ca(route: Route, tls_dir: str) -> str:
    """The file that nginx verifies the gateway with."""
    authority = route.upstream_tls.server_ca
    return file_of(tls_dir, authority.secret, "ca.crt") if authority.secret else str(authority.file)


def client_certificate(route: Route, tls_dir: str) -> Optional[Client]:
    """nginx's client certificate towards the gateway as files on the VM; None when the gateway asks for none."""
    pair = route.upstream_tls.client_certificate
    if pair is None:
        return None
    if pair.secret is None:
        return Client(str(pair.cert_file), str(pair.key_file))
    return Client(file_of(tls_dir, pair.secret, "tls.crt"), file_of(tls_dir, pair.secret, "tls.key"))
