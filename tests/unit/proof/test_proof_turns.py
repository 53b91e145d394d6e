# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose identity arrives: what is asked by turns, and what the answers prove."""

from __future__ import annotations

import json
from typing import Any

import pytest

from plugins.module_utils._proof.judge import judge
from plugins.module_utils._proof.model import probes
from plugins.module_utils._proof.verdict import FAILED, NOT_TESTED, OK, Evidence
from plugins.module_utils._proof.vm_nginx import configured
from plugins.module_utils._proof.vm_nginx.kind import KIND
from plugins.module_utils._proof.vm_nginx.machine import Given, Machine
from plugins.module_utils._proof.vm_nginx.plan import plan
from tests.unit.proof.materials import routes
from tests.unit.proof.nodes import GATEWAY

SHOWS = "proxy_ssl_certificate /tls/edge.crt; proxy_ssl_certificate_key /tls/edge.key;"
SERVER = "server {{ listen 443 ssl; server_name {name}.example.com; location / {{ proxy_pass https://{to}; {more} }} }}"


def nginx(pay: str, blocks: str) -> str:
    """shop without and pay with a client certificate, at these upstreams."""
    common = "proxy_ssl_server_name on; proxy_ssl_name edge; proxy_http_version 1.1;"
    servers = SERVER.format(name="shop", to="one", more=common) + SERVER.format(name="pay", to=pay, more=common + SHOWS)
    return f"nginx version: nginx/1.26.3\n# configuration file /etc/nginx/nginx.conf:\nhttp {{ {blocks} {servers} }}\n"


ONE, TWO = (f"upstream {name} {{ server {GATEWAY}; }}" for name in ("one", "two"))
SHARED, APART = nginx("one", ONE), nginx("two", ONE + TWO)


def proofs(dump: str, echo_path: str = "") -> list[Any]:
    found = configured.read(routes(), dump, echo_path)
    machine = Machine({"main": [GATEWAY]}, found.upstreams, found.unknown, found.turns)
    return plan(routes(), machine, Given("vm", "r1", "PEM", address="198.18.0.11", clients=["client"], echo_path=echo_path))


def test_a_shared_upstream_is_read_for_every_route_that_uses_it() -> None:
    for dump, said in ((SHARED, "upstream one from "), (APART, "")):
        found = [proof for proof in proofs(dump) if proof.check == "nginx.own_upstream"]
        assert [proof.route for proof in found] == ["shop", "pay"]
        for proof in found:
            assert proof.wanted["sharing"].startswith(said)
            verdict = judge(KIND, proof.as_dict(), {"checks": [], "ok": False}, Evidence())
            assert (verdict.status, verdict.code) == ((FAILED, "UPSTREAM_IDENTITY_SHARED") if said else (OK, ""))


def test_by_turns_are_asked_both_ways_after_the_other_probes() -> None:
    planned = proofs(APART, "/headers")
    asked = {proof.id: proof for proof in planned if proof.beside}
    assert list(asked) == [
        "shop/path.own_identity/vm>shop.example.com/headers after pay.example.com/headers",
        "shop/path.lent_identity/vm>pay.example.com/headers after shop.example.com/headers",
        "pay/path.own_identity/vm>pay.example.com/headers after shop.example.com/headers",
        "pay/path.lent_identity/vm>shop.example.com/headers after pay.example.com/headers",
    ]
    first = asked[next(iter(asked))]
    assert (first.probe["port"], first.probe["http"]["after"][0]["host"]) == (443, "pay.example.com")
    assert (first.beside["port"], "client" in first.beside["tls"]) == (30443, False), "what is compared with goes past nginx"
    entries = probes(planned)["vm"]
    names = [probe["name"] for probe in entries if probe.get("in_turn")]
    assert len(names) == len(set(names)) == 8
    assert set(names) == {name for proof in asked.values() for name in (proof.probe["name"], proof.beside["name"])}
    assert len(entries) == len({probe["name"] for probe in entries}) > 8


def seen(who: str | None, status: int = 200, code: str = "") -> dict[str, Any]:
    """A probe's result; None tells nothing."""
    headers = {"Host": "x", **({"X-Forwarded-Client-Cert": f'Hash={who};Subject="CN={who}"'} if who else {})}
    body = "hello" if who is None else json.dumps({"headers": headers})
    return {"ok": not code, "code": code, "checks": [], "target": GATEWAY, "http": {"status": status, "body": body, "headers": {}}}


REFUSED = {**seen(None, code="CLIENT_CERT_MISSING"), "http": None}


@pytest.mark.parametrize(
    ("alone", "after", "status", "says"),
    [
        (seen(""), seen("edge"), FAILED, "it arrives as Subject=CN=edge Hash=edge, and alone as nobody"),
        (seen("edge"), seen(""), FAILED, "it arrives as nobody"),
        (REFUSED, seen(None), FAILED, "alone it is refused (CLIENT_CERT_MISSING)"),
        (seen("edge"), seen("edge"), OK, "arrives as Subject=CN=edge Hash=edge, as alone"),
        (seen(""), seen(""), OK, "arrives as nobody, as alone"),
        (REFUSED, seen(None, 502, "NGINX_BAD_GATEWAY"), OK, "is refused, as alone (CLIENT_CERT_MISSING)"),
        (seen(None), seen(None), NOT_TESTED, "verify_echo_path"),
        (None, seen("edge"), NOT_TESTED, "was not seen"),
    ],
)
def test_what_arrives_after_another_is_held_against_what_it_is_alone(
    alone: dict[str, Any] | None, after: dict[str, Any], status: str, says: str
) -> None:
    proof = next(proof for proof in proofs(APART) if proof.check == "path.own_identity").as_dict()
    verdict = judge(KIND, proof, after, Evidence(beside={proof["beside"]["name"]: alone} if alone else {}))
    assert verdict.status == status
    assert says in (verdict.observed or verdict.why)
    assert status != FAILED or (verdict.code == "IDENTITY_BORROWED" and proof["target"] in verdict.why)
