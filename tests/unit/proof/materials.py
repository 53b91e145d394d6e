# SPDX-License-Identifier: GPL-3.0-or-later
"""The certificates of the small world, and its routes."""

from __future__ import annotations

import dataclasses
from functools import lru_cache
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding

from plugins.module_utils._routes.load import load
from plugins.module_utils._routes.reading import Reading
from plugins.module_utils._routes.schema import Route
from plugins.module_utils._x509.sign import new_ca, new_leaf


def pem(material: Any) -> str:
    """The certificates of a material, leaf first."""
    return "".join(cert.public_bytes(Encoding.PEM).decode() for cert in material.certs)


@lru_cache(maxsize=1)
def pki() -> dict[str, Any]:
    """Two CAs that matter and one that doesn't, and leaves."""
    ca, public, foreign = new_ca("edgemesh private CA", 3650), new_ca("edgemesh public CA", 3650), new_ca("nobody", 1)
    return {
        "ca": ca,
        "public": public,
        "foreign": foreign,
        "gateway": new_leaf(ca, ["shop.example.com", "pay.example.com", "store.example.com"], "server", 90),
        "sidecar": new_leaf(ca, ["URI:spiffe://cluster.local/ns/shop/sa/web"], "server", 1),
        "listener": new_leaf(public, ["shop.example.com", "pay.example.com", "store.example.com"], "server", 90),
        "client": new_leaf(ca, ["edge.example.com"], "client", 30),
    }


SHOP: dict[str, Any] = {
    "name": "shop",
    "host": "shop.example.com",
    "listen": {"certificate": "shop-public", "acme_webroot": "/var/www/acme", "http3": True},
    "paths": [{"path": "/", "service": {"namespace": "shop", "name": "web", "port": 8080}}],
}
PAY: dict[str, Any] = {
    "name": "pay",
    "host": "pay.example.com",
    "listen": {"certificate": "pay-public"},
    "upstream_tls": {"mode": "mutual", "client_certificate": "edge-client", "client_names": ["edge.example.com"]},
    "paths": [{"path": "/", "service": {"namespace": "shop", "name": "web", "port": 8080}}],
}

#: Of another list.
STORE: dict[str, Any] = {
    "name": "store",
    "host": "store.example.com",
    "listen": {"certificate": "store-public"},
    "paths": [{"path": "/", "service": {"namespace": "store", "name": "web", "port": 8080}}],
}


def routes(**changes: Any) -> list[Route]:
    """shop (SIMPLE) and pay (MUTUAL); ``changes`` go into both."""
    return load([{**entry, **changes} for entry in (SHOP, PAY)])


def others() -> list[Route]:
    """store, of list team-b."""
    return load([STORE], list_name="team-b")


def read(*entries: dict[str, Any]) -> str:
    """What read_routes finds of these entries, or of shop and pay."""
    return Reading.of_variables({"edge_routes": list(entries or (SHOP, PAY))}).text()


def read_none() -> str:
    """What it finds where there are no routes."""
    return Reading.of_variables({}).text()


def with_listen(route: Route, **changes: Any) -> Route:
    """The same with another listener, unchecked."""
    return dataclasses.replace(route, listen=dataclasses.replace(route.listen, **changes))
