# SPDX-License-Identifier: GPL-3.0-or-later
"""Objects with certificates, and the two modules' work in this process."""

from __future__ import annotations

import base64
from functools import cache
from typing import Any

from plugins.module_utils._kube.client import Client
from plugins.module_utils._secrets.entries import entries
from plugins.module_utils._secrets.tls_secret import Delivery
from plugins.module_utils._secrets.tls_secret_info import Info
from tests.unit.x509.pki import Pair, leaf, root

DEFAULTS: dict[str, Any] = {"secrets": [], "select": [], "uses": None, "soon": 7, "wait": False, "until": "fit"}


@cache
def authority() -> Pair:
    return root()


def encoded(data: dict[str, str]) -> dict[str, str]:
    return {name: base64.b64encode(text.encode()).decode() for name, text in data.items()}


def tls(namespace: str, name: str, pair: Pair | None = None, **metadata: Any) -> dict[str, Any]:
    """A kubernetes.io/tls Secret; without a pair as cert-manager makes it first, with empty entries."""
    pem = {"tls.crt": pair.pem, "tls.key": pair.key_pem()} if pair else {"tls.crt": "", "tls.key": ""}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"namespace": namespace, "name": name, **metadata},
        "type": "kubernetes.io/tls",
        "data": encoded(pem),
    }


def server(name: str = "shop.example.com", **options: Any) -> Pair:
    return leaf(authority(), name, **options)


def named(namespace: str, name: str, **more: Any) -> dict[str, Any]:
    return {"namespace": namespace, "name": name, "kind": "Secret", **more}


def info(client: Client, *secrets: dict[str, Any], check: bool = False, **params: Any) -> list[dict[str, Any]]:
    """A tls_secret_info task."""
    return Info({**DEFAULTS, "secrets": list(secrets), **params}, check=check).look(client)


def wanted(namespace: str) -> list[dict[str, Any]]:
    """A CA, a leaf of it, and a copy of the CA for a gateway."""
    ca = {"namespace": namespace, "name": "edge-ca"}
    return [
        {**ca, "issue": {"usage": "ca"}},
        {"namespace": namespace, "name": "edge-shop", "for": "gateway", "issue": {"ca": ca, "names": ["shop.example.com"]}},
        {"namespace": namespace, "name": "edge-shop-cacert", "for": "gateway_ca", "from": {"secret": ca}},
    ]


def deliver(client: Client, secrets: list[dict[str, Any]], state: str = "present") -> list[str]:
    """A tls_secret task; the actions in order."""
    delivery = Delivery(client, entries(secrets, state))
    plans = delivery.present() if state == "present" else delivery.absent()
    return [plan.action for plan in plans]
