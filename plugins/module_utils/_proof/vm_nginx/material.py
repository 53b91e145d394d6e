"""Where a route's certificates lie on a VM."""

from __future__ import annotations

from typing import Any, Optional


def public_files(route: dict[str, Any], tls_dir: str) -> dict[str, str]:
    """The files that are read for the report: certificates only, never keys; "" where the route has none.

    Keys: ``front`` and ``front_ca`` (what clients see, and what vouches for it), ``gateway_ca`` (what vouches for the gateway),
    ``client`` (what nginx shows to the gateway). Where nginx passes TLS on, clients see the gateway's certificate.
    """
    if route["listen"]["mode"] == "passthrough":
        return {"front": "", "front_ca": gateway_ca(route, tls_dir), "gateway_ca": gateway_ca(route, tls_dir), "client": ""}
    certificate = route["listen"]["certificate"] or {}
    secret = certificate.get("secret")
    return {
        "front": certificate.get("cert_file") or (_in(tls_dir, secret, "tls.crt") if secret else ""),
        "front_ca": _in(tls_dir, secret, "ca.crt") if secret else "",
        "gateway_ca": gateway_ca(route, tls_dir),
        "client": (client_certificate(route, tls_dir) or {}).get("cert_file", ""),
    }


def gateway_ca(route: dict[str, Any], tls_dir: str) -> str:
    """The file that nginx verifies the gateway with."""
    authority = route["upstream_tls"]["server_ca"]
    return str(authority.get("file") or _in(tls_dir, authority["secret"], "ca.crt"))


def client_certificate(route: dict[str, Any], tls_dir: str) -> Optional[dict[str, str]]:
    """nginx's client certificate towards the gateway as files on the VM; None when the gateway asks for none."""
    pair = route["upstream_tls"].get("client_certificate")
    if not pair:
        return None
    if pair.get("cert_file"):
        return {"cert_file": pair["cert_file"], "key_file": pair["key_file"]}
    return {"cert_file": _in(tls_dir, pair["secret"], "tls.crt"), "key_file": _in(tls_dir, pair["secret"], "tls.key")}


def _in(tls_dir: str, secret: dict[str, str], name: str) -> str:
    return f"{tls_dir}/{secret['namespace']}/{secret['name']}/{name}"
