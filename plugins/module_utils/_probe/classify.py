# SPDX-License-Identifier: GPL-3.0-or-later
"""From what was sent and what was seen to one cause. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from . import alerts
from .expect import Check, short
from .observation import Failure, HttpSeen, Observation
from .spec import Path

# what OpenSSL calls an answer that isn't TLS, by version of OpenSSL
_NOT_TLS = {"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG", "UNKNOWN_PROTOCOL", "HTTP_REQUEST", "BAD_RECORD_TYPE"}
_NO_VERSION = {"UNSUPPORTED_PROTOCOL", "NO_PROTOCOLS_AVAILABLE", "WRONG_SSL_VERSION", "VERSION_TOO_LOW"}

# _x509.chain's words about a server's chain → ours
CHAIN_CODES = {
    "ISSUER_MISSING": "WRONG_TRUST_ANCHOR",
    "ROOT_NOT_TRUSTED": "WRONG_TRUST_ANCHOR",
    "SELF_SIGNED": "WRONG_TRUST_ANCHOR",
    "SIGNATURE_WRONG": "WRONG_TRUST_ANCHOR",
    "ROOT_MISSING": "TRUST_NEEDS_ROOT",
    "TRUST_EMPTY": "CA_UNREADABLE",
    "CERT_EXPIRED": "SERVER_CERT_EXPIRED",
    "CERT_NOT_YET_VALID": "SERVER_CERT_NOT_YET_VALID",
    "NAME_MISMATCH": "UPSTREAM_NAME_MISMATCH",
    "EKU_NO_SERVERAUTH": "EKU_NO_SERVERAUTH",
    "CHAIN_TOO_LONG": "VERIFY_DEPTH",
}


@dataclass(frozen=True)
class Found:
    """A cause: code, the phase in which it shows, and a clause about this case for the sentence."""

    code: str
    phase: str
    detail: str = ""


def of_failure(path: Path, seen: Observation, failure: Failure) -> Found:
    """Why a probe ended early."""
    if failure.phase == "dns":
        return Found("DNS_NO_ADDRESS", "dns", failure.text)
    if failure.phase in ("tcp", "proxy_protocol"):
        code = {"refused": "CONNECTION_REFUSED", "timeout": "CONNECT_TIMEOUT", "denied": "CONNECT_DENIED"}.get(
            failure.kind, "HOST_UNREACHABLE"
        )
        return Found(code, failure.phase, failure.text)
    if failure.phase == "http":
        return _of_http_failure(path, failure)
    return Found(*_tls_code(path, seen, failure))


def _tls_code(path: Path, seen: Observation, failure: Failure) -> tuple[str, str, str]:
    tls, phase, alert = path.tls, failure.phase, failure.alert
    client = tls.client if tls else None
    requested = bool(seen.tls and seen.tls.requested)
    if failure.kind == "certificate":
        return "CLIENT_CERT_UNREADABLE", phase, failure.text
    if alert in alerts.CLIENT_CAUSES:
        code = "CLIENT_CERT_MISSING" if client is None and requested else alerts.CLIENT_CAUSES[alert]
        return code, phase, ""
    if requested and alert in (alerts.HANDSHAKE_FAILURE, None) and failure.kind in ("alert", "closed", "reset"):
        return ("CLIENT_CERT_REFUSED" if client else "CLIENT_CERT_MISSING"), phase, ""
    if phase == "tls_first_read":
        return "HTTP_NO_ANSWER", phase, f" right after the handshake ({failure.text})"
    if alert == alerts.PROTOCOL_VERSION or failure.reason in _NO_VERSION:
        return "TLS_VERSION_GAP", phase, _offered(path)
    if path.proxy_protocol and (failure.kind in ("closed", "reset", "tls") or alert):
        return "PROXY_PROTOCOL_ONE_SIDED", phase, ": it is sent, and the handshake fails after it"
    if failure.reason in _NOT_TLS:
        return "TLS_TO_PLAINTEXT_PORT", phase, ""
    if alert == alerts.NO_APPLICATION_PROTOCOL:
        return "ALPN_GAP", phase, ""
    sni = tls.sni if tls else ""
    if alert == alerts.UNRECOGNIZED_NAME or failure.kind in ("closed", "reset") or (alert is not None and not sni):
        return ("WRONG_SNI" if sni else "NO_SNI"), phase, ""
    if alert == alerts.HANDSHAKE_FAILURE:
        return "TLS_CIPHER_GAP", phase, ""
    if failure.kind == "timeout":
        return "HANDSHAKE_TIMEOUT", phase, ""
    return "HANDSHAKE_FAILED", phase, f"alert {alert}" if alert is not None else failure.text


def _of_http_failure(path: Path, failure: Failure) -> Found:
    if failure.kind == "timeout":
        return Found("HTTP_TIMEOUT", "http")
    if failure.kind == "garbled":
        if path.tls is None and failure.reason == "TLS_RECORD":
            return Found("PLAINTEXT_TO_TLS_PORT", "http")
        return Found("HTTP_GARBLED", "http", f" ({failure.text})" if failure.text else "")
    return Found("HTTP_NO_ANSWER", "http", f" ({failure.text})" if failure.text else "")


def _offered(path: Path) -> str:
    if path.tls is None or not (path.tls.min_version or path.tls.max_version):
        return ""
    low, high = path.tls.min_version or "the lowest", path.tls.max_version or "the highest"
    return f": {low if low == high else f'{low} to {high}'} is offered"


def of_client(code: str, client: dict[str, object], authorities: list[str]) -> Found | None:
    """A clearer cause than the refusal's own, from our client certificate's facts; None where they say nothing.

    :param code: what ``_x509`` says about the certificate as a client's, e.g. EKU_NO_CLIENTAUTH, CERT_EXPIRED; "" if fit.
    :param client: facts of the leaf.
    :param authorities: names of the CAs that the server says it takes.
    """
    if code == "EKU_NO_CLIENTAUTH":
        return Found(code, "", "")
    if code == "CERT_EXPIRED":
        return Found("CLIENT_CERT_EXPIRED", "", f": it was valid until {client.get('not_after')}")
    if authorities and client.get("issuer") not in authorities:
        return Found(
            "CLIENT_CERT_UNTRUSTED", "", f": it is signed by {client.get('issuer')}, the other side takes {', '.join(authorities[:3])}"
        )
    return None


def of_answer(path: Path, http: HttpSeen) -> Found | None:
    """What an answer by nginx or a gateway means; None where nothing is known about it."""
    return _of_tls_page(http) or _of_gateway(path, http) or _of_nginx(http)


def _of_tls_page(http: HttpSeen) -> Found | None:
    """nginx tells in a 400 page what other servers tell in an alert."""
    if http.status != 400:
        return None
    if "plain HTTP request was sent to HTTPS port" in http.body:
        return Found("PLAINTEXT_TO_TLS_PORT", "http")
    if "No required SSL certificate was sent" in http.body:
        return Found("CLIENT_CERT_MISSING", "http")
    if "SSL certificate error" in http.body:
        return Found("CLIENT_CERT_REFUSED", "http")
    return None


def _of_gateway(path: Path, http: HttpSeen) -> Found | None:
    body, status = http.body, http.status
    if status == 403 and body.startswith("RBAC: access denied"):
        return Found("RBAC_DENIED", "policy")
    if status in (401, 403) and body.startswith(("Jwt ", "Jwks ")):
        return Found("JWT_REFUSED", "policy", short(body))
    if status == 503:
        found = _of_503(http)
        if found:
            return found
    if status == 504 and body.startswith("upstream request timeout"):
        return Found("UPSTREAM_TIMEOUT", "http")
    if status == 429:
        return Found("RATE_LIMITED", "policy")
    if status in (301, 302, 307, 308) and _to_itself(path, http):
        return Found("REDIRECT_LOOP", "http", f": {http.headers.get('location', '')}")
    if from_application(http) or from_nginx(http):
        return None
    if status == 426:
        return Found("HTTP10_UPSTREAM", "http")
    if status == 421:
        return Found("MISDIRECTED_REQUEST", "http")
    if status == 404 and not body:
        return Found("HOST_NOT_ROUTED", "http")
    return None


def _of_503(http: HttpSeen) -> Found | None:
    body = http.body
    if body.startswith("no healthy upstream"):
        return Found("NO_HEALTHY_UPSTREAM", "http")
    if "Secret is not supplied by SDS" in body:
        return Found("SDS_SECRET_MISSING", "http")
    if body.startswith("upstream connect error"):
        if "TLS" in body or "CERTIFICATE_VERIFY_FAILED" in body:
            return Found("UPSTREAM_TLS_FAILED", "http", short(body))
        if "connection termination" in body or "remote reset" in body:
            return Found("UPSTREAM_CLOSED", "http", short(body))
        return Found("UPSTREAM_UNREACHABLE", "http", short(body))
    if not body and not from_application(http) and from_gateway(http):
        return Found("CLUSTER_NOT_FOUND", "http")
    return None


def _of_nginx(http: HttpSeen) -> Found | None:
    if not from_nginx(http):
        return None
    code = {502: "NGINX_BAD_GATEWAY", 504: "NGINX_UPSTREAM_TIMEOUT", 404: "NGINX_NOT_FOUND", 403: "NGINX_FORBIDDEN"}.get(http.status, "")
    if code or http.status >= 400:
        return Found(code or "NGINX_ERROR", "http")
    return None


def _to_itself(path: Path, http: HttpSeen) -> bool:
    sent = path.http
    if sent is None:
        return False
    scheme = "https" if path.tls else "http"
    default = ":443" if path.tls else ":80"
    return http.headers.get("location", "").replace(default, "", 1) == f"{scheme}://{sent.host.replace(default, '')}{sent.path}"


def from_application(http: HttpSeen) -> bool:
    """Whether the answer came from behind the gateway: Envoy then notes how long that took."""
    return "x-envoy-upstream-service-time" in http.headers


def from_gateway(http: HttpSeen) -> bool:
    """Whether Envoy says that it answered."""
    return "envoy" in http.headers.get("server", "")


def from_nginx(http: HttpSeen) -> bool:
    """Whether the body is one of nginx's own pages (its Server header stands on proxied answers too)."""
    return "<center>nginx" in http.body or "<center>openresty" in http.body


def of_check(path: Path, seen: Observation, check: Check) -> Found:
    """Why an expectation about the answer does not hold."""
    name = check["check"]
    if name == "status" and seen.http is not None:
        known = of_answer(path, seen.http)
        who = " from the service behind the gateway" if from_application(seen.http) else ""
        return known or Found("UNEXPECTED_STATUS", "http", f"{who}, not {check['expected']}")
    detail = f"{name} is {check['observed']}, not {check['expected']}"
    if name in ("tls_version", "certificate_requested", "leaf_sha256"):
        return Found("UNEXPECTED_TLS", "tls_handshake", detail)
    return Found("UNEXPECTED_ANSWER", "http", detail)
