# SPDX-License-Identifier: GPL-3.0-or-later
"""Classification: (phase, alert, verdict, answer, what was sent) to one code."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from plugins.module_utils._probe import classify, contrast, session, spec
from plugins.module_utils._probe.classify import Found
from plugins.module_utils._probe.observation import Failure, HttpSeen, Observation, TlsSeen


def path(sni: str = "a.example", client: bool = False, proxy: str = "", **tls: Any) -> spec.Path:
    shown = {"client": {"cert_file": "/c", "key_file": "/k"}} if client else {}
    return spec.path(
        {
            "name": "x",
            "address": "192.0.2.1",
            "port": 443,
            "proxy_protocol": proxy,
            "tls": {"sni": sni, **shown, **tls},
            "http": {"host": "a.example"},
        }
    )


def of(made: spec.Path, failure: Failure, requested: bool | None = False) -> str:
    return classify.of_failure(made, Observation(tls=TlsSeen(requested=requested)), failure).code


def handshake(kind: str, alert: int | None = None, reason: str = "") -> Failure:
    return Failure("tls_handshake", kind, alert, reason)


@pytest.mark.parametrize(
    ("made", "failure", "requested", "code"),
    [
        (path(), Failure("dns", "no_address"), None, "DNS_NO_ADDRESS"),
        (path(), Failure("dns", "timeout"), None, "DNS_NO_ADDRESS"),
        (path(), Failure("tcp", "refused"), None, "CONNECTION_REFUSED"),
        (path(), Failure("tcp", "timeout"), None, "CONNECT_TIMEOUT"),
        (path(), Failure("tcp", "unreachable"), None, "HOST_UNREACHABLE"),
        (path(), Failure("tcp", "denied"), None, "CONNECT_DENIED"),
        # the class of the exception differs by version of Python, the cause does not
        (path(sni=""), handshake("closed"), False, "NO_SNI"),
        (path(sni=""), handshake("reset"), None, "NO_SNI"),
        (path(sni=""), handshake("alert", 112), False, "NO_SNI"),
        (path(sni=""), handshake("alert", 40), False, "NO_SNI"),
        (path(sni=""), handshake("alert", 80), False, "NO_SNI"),
        (path(), handshake("closed"), False, "WRONG_SNI"),
        (path(), handshake("alert", 112), False, "WRONG_SNI"),
        (path(), handshake("alert", 40), False, "TLS_CIPHER_GAP"),
        (path(), handshake("alert", 40), True, "CLIENT_CERT_MISSING"),
        (path(client=True), handshake("alert", 40), True, "CLIENT_CERT_REFUSED"),
        (path(), handshake("reset"), True, "CLIENT_CERT_MISSING"),
        (path(), handshake("alert", 70), False, "TLS_VERSION_GAP"),
        (path(), handshake("tls", None, "UNSUPPORTED_PROTOCOL"), False, "TLS_VERSION_GAP"),
        (path(), handshake("tls", None, "WRONG_VERSION_NUMBER"), False, "TLS_TO_PLAINTEXT_PORT"),
        (path(), handshake("tls", None, "RECORD_LAYER_FAILURE"), False, "TLS_TO_PLAINTEXT_PORT"),
        (path(proxy="v1"), handshake("tls", None, "WRONG_VERSION_NUMBER"), False, "PROXY_PROTOCOL_ONE_SIDED"),
        (path(proxy="v2"), handshake("closed"), False, "PROXY_PROTOCOL_ONE_SIDED"),
        (path(), handshake("alert", 120), False, "ALPN_GAP"),
        (path(), handshake("timeout"), False, "HANDSHAKE_TIMEOUT"),
        (path(), handshake("tls", None, "DH_KEY_TOO_SMALL"), False, "HANDSHAKE_FAILED"),
        (path(), handshake("alert", 50), False, "HANDSHAKE_FAILED"),
        (path(client=True), handshake("certificate"), None, "CLIENT_CERT_UNREADABLE"),
        (path(), Failure("tls_first_read", "alert", 116), True, "CLIENT_CERT_MISSING"),
        (path(client=True), Failure("tls_first_read", "alert", 48), True, "CLIENT_CERT_UNTRUSTED"),
        (path(client=True), Failure("tls_first_read", "alert", 45), True, "CLIENT_CERT_EXPIRED"),
        (path(client=True), Failure("tls_first_read", "alert", 43), True, "EKU_NO_CLIENTAUTH"),
        (path(client=True), Failure("tls_first_read", "alert", 42), True, "CLIENT_CERT_REFUSED"),
        (path(client=True), Failure("tls_first_read", "alert", 46), True, "CLIENT_CERT_REFUSED"),
        (path(), Failure("tls_first_read", "reset"), True, "CLIENT_CERT_MISSING"),
        (path(), Failure("tls_first_read", "closed"), False, "HTTP_NO_ANSWER"),
        (path(), Failure("http", "timeout"), False, "HTTP_TIMEOUT"),
        (path(), Failure("http", "closed"), False, "HTTP_NO_ANSWER"),
        (path(), Failure("http", "garbled"), False, "HTTP_GARBLED"),
    ],
)
def test_failure(made: spec.Path, failure: Failure, requested: bool | None, code: str) -> None:
    assert of(made, failure, requested) == code


def test_tls_alert_in_answer_to_plain_text() -> None:
    plain = spec.path({"name": "x", "address": "192.0.2.1", "port": 443, "http": {}})
    assert classify.of_failure(plain, Observation(), Failure("http", "garbled", reason="TLS_RECORD")).code == "PLAINTEXT_TO_TLS_PORT"


ENVOY = {"server": "istio-envoy"}
APP = {"server": "istio-envoy", "x-envoy-upstream-service-time": "3"}
PAGE = "<html>\r\n<head><title>{0}</title></head>\r\n<body>\r\n<center><h1>{0}</h1></center>\r\n<hr><center>nginx/1.22.1</center>\r\n"
RESET = "upstream connect error or disconnect/reset before headers. reset reason: "


@pytest.mark.parametrize(
    ("status", "body", "headers", "code"),
    [
        (426, "Upgrade Required", ENVOY, "HTTP10_UPSTREAM"),
        (426, "", {"server": "nginx"}, "HTTP10_UPSTREAM"),  # through nginx, which names itself
        (426, "", APP, ""),
        (404, "", ENVOY, "HOST_NOT_ROUTED"),
        (404, "", {"server": "nginx"}, "HOST_NOT_ROUTED"),
        (404, "", APP, ""),
        (404, "not here", ENVOY, ""),
        (404, PAGE.format("404 Not Found"), {"server": "nginx"}, "NGINX_NOT_FOUND"),
        (404, PAGE.format("404 Not Found"), APP, "NGINX_NOT_FOUND"),  # an nginx behind the gateway
        (403, "RBAC: access denied", ENVOY, "RBAC_DENIED"),
        (403, "RBAC: access denied", APP, "RBAC_DENIED"),  # by the sidecar
        (403, "no", APP, ""),
        (403, PAGE.format("403 Forbidden"), {}, "NGINX_FORBIDDEN"),
        (401, "Jwt is missing", ENVOY, "JWT_REFUSED"),
        (403, "Jwt verification fails", ENVOY, "JWT_REFUSED"),
        (429, "local_rate_limited", ENVOY, "RATE_LIMITED"),
        (421, "", ENVOY, "MISDIRECTED_REQUEST"),
        (503, "no healthy upstream", ENVOY, "NO_HEALTHY_UPSTREAM"),
        (503, RESET + "connection failure", ENVOY, "UPSTREAM_UNREACHABLE"),
        (503, RESET + "connection termination", ENVOY, "UPSTREAM_CLOSED"),
        (503, RESET + "remote connection failure, transport failure reason: TLS_error:WRONG_VERSION", ENVOY, "UPSTREAM_TLS_FAILED"),
        (503, RESET + "…, transport failure reason: TLS error: Secret is not supplied by SDS", ENVOY, "SDS_SECRET_MISSING"),
        (503, "", ENVOY, "CLUSTER_NOT_FOUND"),
        (503, "", APP, ""),
        (503, "maintenance", APP, ""),
        (504, "upstream request timeout", ENVOY, "UPSTREAM_TIMEOUT"),
        (502, PAGE.format("502 Bad Gateway"), {"server": "nginx"}, "NGINX_BAD_GATEWAY"),
        (504, PAGE.format("504 Gateway Time-out"), {"server": "nginx"}, "NGINX_UPSTREAM_TIMEOUT"),
        (500, PAGE.format("500 Internal Server Error"), {"server": "nginx"}, "NGINX_ERROR"),
        (400, PAGE.format("400 The plain HTTP request was sent to HTTPS port"), {}, "PLAINTEXT_TO_TLS_PORT"),
        (400, PAGE.format("400 No required SSL certificate was sent"), {}, "CLIENT_CERT_MISSING"),
        (400, PAGE.format("400 The SSL certificate error"), {}, "CLIENT_CERT_REFUSED"),
        (301, "", {"location": "https://a.example/"}, "REDIRECT_LOOP"),
        (302, "", {"location": "https://a.example:443/"}, "REDIRECT_LOOP"),
        (301, "", {"location": "https://b.example/"}, ""),
        (301, "", {"location": "http://a.example/"}, ""),
        (200, "fine", APP, ""),
        (500, "broken", APP, ""),
    ],
)  # fmt: skip
def test_answer(status: int, body: str, headers: dict[str, str], code: str) -> None:
    found = classify.of_answer(path(), HttpSeen(status=status, body=body, headers=headers))
    assert (found.code if found else "") == code


@pytest.mark.parametrize(
    ("code", "issuer", "authorities", "clearer"),
    [
        ("EKU_NO_CLIENTAUTH", "CN=ca", ["CN=ca"], "EKU_NO_CLIENTAUTH"),
        ("CERT_EXPIRED", "CN=ca", [], "CLIENT_CERT_EXPIRED"),
        ("", "CN=ca", ["CN=other"], "CLIENT_CERT_UNTRUSTED"),
        ("", "CN=ca", ["CN=ca", "CN=other"], ""),
        ("", "CN=ca", [], ""),
    ],
)
def test_own_certificate_explains_a_refusal(code: str, issuer: str, authorities: list[str], clearer: str) -> None:
    found = classify.of_client(code, {"issuer": issuer, "not_after": "2026-01-01T00:00:00Z"}, authorities)
    assert (found.code if found else "") == clearer


OPTIONS = {
    "name": "x",
    "address": "192.0.2.1",
    "port": 443,
    "tls": {"sni": ""},
    "http": {"host": "a.example"},
    "consecutive": 3,
    "expect": {"status": [599]},
}
TALKS = Observation(tls=TlsSeen(chain=["AAAA"]))
SILENT = Observation(failure=Failure("tls_handshake", "closed"))


@pytest.mark.parametrize(
    ("sni", "proxy", "code", "seen", "decided"),
    [
        ("", None, "NO_SNI", {"sni": TALKS, "proxy": SILENT}, "NO_SNI"),
        ("", None, "NO_SNI", {"sni": SILENT, "proxy": TALKS}, "PROXY_PROTOCOL_ONE_SIDED"),
        ("", None, "NO_SNI", {"sni": SILENT, "proxy": SILENT}, "NO_SNI"),
        ("wrong.example", None, "WRONG_SNI", {"sni": TALKS, "proxy": SILENT}, "WRONG_SNI"),
        ("a.example", None, "WRONG_SNI", {"proxy": TALKS}, "PROXY_PROTOCOL_ONE_SIDED"),
        ("a.example", "v1", "PROXY_PROTOCOL_ONE_SIDED", {"proxy": TALKS}, "PROXY_PROTOCOL_ONE_SIDED"),
        ("a.example", "v1", "PROXY_PROTOCOL_ONE_SIDED", {"proxy": SILENT}, "WRONG_SNI"),
        ("", "v1", "PROXY_PROTOCOL_ONE_SIDED", {"sni": SILENT, "proxy": SILENT}, "NO_SNI"),
    ],
)
def test_second_look_decides(sni: str, proxy: str | None, code: str, seen: dict[str, Observation], decided: str) -> None:
    made = spec.path({**OPTIONS, "tls": {"sni": sni, "verify_name": "a.example"}, "proxy_protocol": proxy})
    assert set(contrast.variants(made, code)) == set(seen)
    assert contrast.decide(made, Found(code, "tls_handshake"), seen).code == decided


def test_an_alert_rules_a_missing_proxy_header_out() -> None:
    right = spec.path({**OPTIONS, "tls": {"sni": "a.example", "verify_name": "a.example"}})
    wrong = spec.path({**OPTIONS, "tls": {"sni": "b.example", "verify_name": "a.example"}})
    assert contrast.variants(right, "WRONG_SNI", alerted=True) == {}
    assert set(contrast.variants(wrong, "WRONG_SNI", alerted=True)) == {"sni"}
    sent = replace(right, proxy_protocol="v1")
    assert set(contrast.variants(sent, "PROXY_PROTOCOL_ONE_SIDED", alerted=True)) == {"proxy"}, "one that is not expected draws alerts too"


@pytest.mark.parametrize(("alerts", "looks"), [((112,), 1), ((None,), 2), ((112, None), 2)])
def test_the_host_is_asked_again_only_where_a_cause_is_ambiguous(alerts: tuple[int | None, ...], looks: int) -> None:
    asked: list[list[str]] = []
    seen = [Observation(failure=Failure("tls_handshake", "closed" if alert is None else "alert", alert)) for alert in alerts]

    def observe(entries: list[dict[str, Any]]) -> tuple[list[list[Observation]], dict[str, dict[str, str]]]:
        asked.append([entry["name"] for entry in entries])
        return [seen for _entry in entries], {}

    complete = {**OPTIONS, "tls": {"sni": "a.example", "verify_name": "a.example", "rules": "none"}}
    (result,) = session.results([complete], observe, "here")
    assert (len(asked), result["code"]) == (looks, "WRONG_SNI")


def test_second_look_changes_one_thing_and_expects_nothing() -> None:
    made = spec.path({**OPTIONS, "tls": {"sni": "", "verify_name": "a.example", "rules": "nginx"}})
    tried = contrast.variants(made, "NO_SNI")
    named = spec.Tls(sni="a.example", verify_name="a.example", rules="nginx")
    assert tried["sni"] == replace(made, tls=named, http=None, consecutive=1, expect=spec.Expect())
    assert contrast.variants(made, "RBAC_DENIED") == {}
