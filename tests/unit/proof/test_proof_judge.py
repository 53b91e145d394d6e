# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules by which single proofs are judged, on what real apps and proxies say."""

from __future__ import annotations

import dataclasses
import json
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins.module_utils._mesh import accesslog
from plugins.module_utils._probe import echo
from plugins.module_utils._probe.causes import Context
from plugins.module_utils._proof.judge import judge as decide
from plugins.module_utils._proof.verdict import FAILED, NOT_TESTED, OK, Evidence, Verdict
from plugins.module_utils._proof.vm_nginx.causes import CAUSES
from plugins.module_utils._proof.vm_nginx.kind import KIND

HASH = "ab" * 32
MESH = f'By=spiffe://cluster.local/ns/shop/sa/web;Hash={"cd" * 32};Subject="";URI=spiffe://cluster.local/ns/istio-system/sa/gw'
OWN = f'Hash={HASH};Cert="-----BEGIN%20CERTIFICATE-----";Subject="CN=edge, O=a;b";URI=;DNS=edge.example.com;DNS=b.example.com'


def proof(rule: str, **wanted: Any) -> dict[str, Any]:
    where = {"vantage": "client", "through": "vm"}
    return {**where, "probe": {"name": "x"}, "reason": "", "judge": rule, "wanted": wanted, "context": {}}


def judge(claim: dict[str, Any], seen: dict[str, Any] | None, evidence: Evidence) -> Verdict:
    return decide(KIND, claim, seen, evidence)


def result(ok: bool = True, body: str = "", status: int = 200, headers: dict[str, str] | None = None, **more: Any) -> dict[str, Any]:
    http = {"status": status, "version": "1.1", "headers": headers or {}, "body": body} if status else None
    return {
        "ok": ok,
        "source": "198.18.0.101",
        "observed": "seen",
        "sentence": "why",
        "code": "CODE",
        "fix": "fix",
        "checks": [],
        "phase": "http",
        "http": http,
        "tls": None,
        **more,
    }


def echoed(**headers: str) -> str:
    return json.dumps({"headers": {"Host": ["shop.example.com"], **{name.replace("_", "-"): [value] for name, value in headers.items()}}})


@pytest.mark.parametrize(
    "body",
    [
        '{"headers": {"Host": ["a"], "X-Forwarded-For": ["1.2.3.4", "5.6.7.8"]}}',  # go-httpbin
        '{"headers": {"Host": "a", "X-Forwarded-For": "1.2.3.4, 5.6.7.8"}, "url": "x"}',  # httpbin
        '{"path": "/", "headers": {"host": "a", "x-forwarded-for": "1.2.3.4, 5.6.7.8"}}',  # http-https-echo
        "Hostname: x\nGET / HTTP/1.1\nHost: a\nX-Forwarded-For: 1.2.3.4, 5.6.7.8\n",  # whoami
        "ServiceVersion=\nHost=a\nRequestHeader=X-Forwarded-For:1.2.3.4, 5.6.7.8\n",  # Istio's echo
    ],
)
def test_echo_apps_are_understood(body: str) -> None:
    assert (echo.received(body) or {})["x-forwarded-for"] == "1.2.3.4, 5.6.7.8"


@pytest.mark.parametrize(
    "body", ["", "<html><body>Host</body></html>", "[1, 2]", '{"headers": [1]}', '{"a": 1}', "I'm a teapot!", '"text"', "null"]
)
def test_what_is_no_echo_is_none(body: str) -> None:
    assert echo.received(body) is None


@given(st.text())
def test_no_body_upsets_the_echo(body: str) -> None:
    echo.received(body)
    echo.client_certificates(body)


def test_client_certificates_come_apart_at_the_right_places() -> None:
    elements = echo.client_certificates(f"{OWN},{MESH}")
    assert len(elements) == 2
    assert elements[0]["subject"] == "CN=edge, O=a;b"
    assert elements[0]["dns"] == "edge.example.com b.example.com"
    assert elements[1]["by"].startswith("spiffe://")


@pytest.mark.parametrize(
    ("own", "header", "status"),
    [
        ("198.18.0.101", "198.18.0.101", OK),
        ("198.18.0.101", "198.18.0.101,198.18.0.11", OK),
        ("::ffff:198.18.0.101", "198.18.0.101", OK),
        ("2001:db8::1", "2001:0db8:0:0::1, 10.0.0.1", OK),
        ("198.18.0.101", "203.0.113.77,198.18.0.101", FAILED),
        ("198.18.0.101", "198.18.0.10", FAILED),
        ("198.18.0.101", "", FAILED),
        ("", "", FAILED),
        ("nonsense", "nonsense", FAILED),
    ],
)
def test_the_clients_address_comes_first(own: str, header: str, status: str) -> None:
    assert judge(proof("client_address"), result(body=echoed(X_Forwarded_For=header), source=own), Evidence()).status == status


def test_an_app_that_is_no_echo_leaves_it_untested() -> None:
    for rule in ("client_address", "scheme", "mesh_identity", "forged", "client_identity"):
        verdict = judge(proof(rule, absent="x", cert_file="/c", sha256=HASH), result(body="hello"), Evidence())
        assert verdict.status == NOT_TESTED, rule


@pytest.mark.parametrize(("header", "status"), [(f"{OWN},{MESH}", OK), (OWN.replace("ab", "AB"), OK), (MESH, FAILED), ("", FAILED)])
def test_the_mesh_saw_the_certificate_that_lies_on_the_vm(header: str, status: str) -> None:
    answer = result(body=echoed(X_Forwarded_Client_Cert=header))
    assert judge(proof("client_identity", cert_file="/c", sha256=HASH), answer, Evidence()).status == status
    assert judge(proof("client_identity", cert_file="/c", sha256=""), answer, Evidence()).status == NOT_TESTED


@pytest.mark.parametrize(("header", "status"), [(f"{OWN},{MESH}", OK), (MESH, OK), (OWN, NOT_TESTED), ("", NOT_TESTED)])
def test_two_spiffe_identities_prove_the_meshs_mtls(header: str, status: str) -> None:
    assert judge(proof("mesh_identity"), result(body=echoed(X_Forwarded_Client_Cert=header)), Evidence()).status == status


def test_a_forgery_is_found_in_whatever_header_it_hides() -> None:
    wanted = proof("forged", absent="203.0.113.77")
    assert judge(wanted, result(body=echoed(X_Forwarded_For="198.18.0.101")), Evidence()).status == OK
    verdict = judge(wanted, result(body=echoed(Forwarded="for=203.0.113.77")), Evidence())
    assert (verdict.status, verdict.code) == (FAILED, "FORGED_HEADER_PASSED")


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (result(status=0, ok=False, phase="tls_handshake"), OK),
        (result(status=0, ok=False, phase="tcp"), NOT_TESTED),  # nobody there proves nothing
        (result(status=421, ok=False), OK),
        (result(status=404, ok=False), OK),
        (result(status=200), FAILED),
        (result(status=301), FAILED),
        (result(status=404, ok=False, headers={"x-envoy-upstream-service-time": "1"}), FAILED),  # the app said so
    ],
)
def test_an_unknown_host_gets_nothing_from_the_app(answer: dict[str, Any], status: str) -> None:
    assert judge(proof("not_served"), answer, Evidence()).status == status


def test_a_challenge_that_the_gateway_answers_is_not_on_nginxs_disk() -> None:
    assert judge(proof("own_disk"), result(status=404, headers={"server": "nginx"}), Evidence()).status == OK
    assert judge(proof("own_disk"), result(status=404, headers={"server": "istio-envoy"}), Evidence()).status == FAILED


def test_tls_11_that_our_own_library_refuses_proves_nothing() -> None:
    assert judge(proof("old_tls"), result(status=0, tls={"alert": None}), Evidence()).status == NOT_TESTED
    assert judge(proof("old_tls"), result(status=0, tls={"alert": 70}), Evidence()).status == OK


def test_a_probe_that_could_not_test_is_never_ok() -> None:
    untested = result(checks=[{"check": "verify_nginx", "status": "not_tested", "observed": "no trusted certificates were given"}])
    verdict = judge(proof(""), untested, Evidence())
    assert (verdict.status, verdict.why) == (NOT_TESTED, "no trusted certificates were given")


def test_a_vantage_point_that_brought_nothing_says_why() -> None:
    verdict = judge(proof(""), None, Evidence(trouble={"client": "No route to host"}))
    assert verdict.status == NOT_TESTED
    assert "No route to host" in verdict.why


def test_an_answer_of_another_websocket_is_no_proof() -> None:
    assert (
        judge(proof("websocket"), result(status=101, headers={"Sec-WebSocket-Accept": "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="}), Evidence()).status
        == OK
    )
    assert judge(proof("websocket"), result(status=101, headers={"sec-websocket-accept": "other"}), Evidence()).status == FAILED
    assert judge(proof("websocket"), result(status=101), Evidence()).code == "WEBSOCKET_BROKEN"


TEXT = (
    '[2026-11-21T10:00:00.000Z] "GET /headers HTTP/1.1" 200 - via_upstream - "-" 0 512 3 2 "198.18.0.101,198.18.0.11" '
    '"edgemesh-verify/r1-abc" "6f1c3a1e-0000-4000-8000-000000000000" "shop.example.com" "198.18.64.9:8080" '
    "outbound|8080||web.shop.svc.cluster.local "
    "198.18.64.7:41234 198.18.64.7:8443 198.18.0.11:51844 shop.example.com -"
)
JSON = json.dumps(
    {
        "protocol": "HTTP/1.1",
        "user_agent": "edgemesh-verify/r1-abc",
        "requested_server_name": "shop.example.com",
        "x_forwarded_for": "198.18.0.101,198.18.0.11",
        "upstream_transport_failure_reason": None,
    }
)


@pytest.mark.parametrize("line", [TEXT, JSON])
@pytest.mark.parametrize(
    ("change", "status"),
    [
        (("", ""), OK),
        (("HTTP/1.1", "HTTP/1.0"), FAILED),
        (("198.18.0.101", "203.0.113.77"), FAILED),
        (("edgemesh-verify/r1-abc", "edgemesh-verify/r1-abd"), NOT_TESTED),
    ],
)
def test_the_log_line_of_this_very_request_decides(line: str, change: tuple[str, str], status: str) -> None:
    log = ["2026-11-21T10:00:00Z info xds started", '{"level": "info"}', "{broken", line.replace(*change) if change[0] else line]
    wanted = proof("access_log", protocol="HTTP/1.1", user_agent="edgemesh-verify/r1-abc", sni="shop.example.com")
    assert judge(wanted, result(), Evidence(log=log)).status == status


def test_each_proxy_of_the_chain_has_its_place_in_x_forwarded_for() -> None:
    wanted = proof("access_log", protocol="HTTP/1.1", user_agent="edgemesh-verify/r1-abc", sni="shop.example.com")
    assert judge(wanted, result(), Evidence(log=[TEXT])).saw == {"nginx": "198.18.0.101", "gateway": "198.18.0.11"}
    client, nginx, *others = KIND.chain.nodes
    chain = dataclasses.replace(KIND.chain, nodes=(client, dataclasses.replace(nginx, key="balancer"), nginx, *others))
    longer: Any = SimpleNamespace(chain=chain, rules=KIND.rules, causes=KIND.causes)
    line = TEXT.replace("198.18.0.101,198.18.0.11", "198.18.0.101,198.18.0.50,198.18.0.11")
    seen = decide(longer, wanted, result(), Evidence(log=[line])).saw
    assert seen == {"balancer": "198.18.0.101", "nginx": "198.18.0.50", "gateway": "198.18.0.11"}
    assert decide(longer, wanted, result(), Evidence(log=[TEXT])).saw == {"nginx": "198.18.0.101", "gateway": "198.18.0.11"}


def test_another_sni_in_the_log_fails() -> None:
    wanted = proof("access_log", protocol="HTTP/1.1", user_agent="edgemesh-verify/r1-abc", sni="pay.example.com")
    assert judge(wanted, result(), Evidence(log=[TEXT])).code == "ACCESS_LOG_DISAGREES"


def test_a_log_that_may_not_be_read_is_said() -> None:
    wanted = proof("access_log", protocol="HTTP/1.1", user_agent="x", sni="y")
    assert judge(wanted, result(), Evidence(no_log="forbidden")).why == "forbidden"


@given(st.text())
def test_no_line_upsets_the_log(line: str) -> None:
    accesslog.parse(line)


def test_the_documented_fixes_are_whole_lines() -> None:
    for cause in CAUSES.values():
        why, fix = cause.sentence(Context()), cause.remedy(Context())
        assert why.endswith(".")
        assert fix
        assert "\n" not in fix


@pytest.mark.parametrize(
    ("header", "code"),
    [({"Alt-Svc": 'h2=":1", h3=":443"; ma=9'}, ""), ({"Alt-Svc": 'h3=":8443"'}, "HTTP3_NOT_OFFERED"), ({}, "HTTP3_NOT_OFFERED")],
)
def test_http3_is_offered_by_a_header(header: dict[str, str], code: str) -> None:
    assert judge(proof("offers", offer='h3=":443"'), result(headers=header), Evidence()).code == code
