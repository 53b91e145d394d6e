# SPDX-License-Identifier: GPL-3.0-or-later
"""What is planned for which route, and that every plan can prove something."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from plugins.module_utils._address import join, split
from plugins.module_utils._probe import spec
from plugins.module_utils._proof.checks import NEGATIVE, POSITIVE
from plugins.module_utils._proof.judge import judge
from plugins.module_utils._proof.model import Proof, probes
from plugins.module_utils._proof.verdict import Evidence
from plugins.module_utils._proof.vm_nginx.catalogue import CHECKS
from plugins.module_utils._proof.vm_nginx.kind import KIND
from plugins.module_utils._proof.vm_nginx.machine import Given, Machine, Upstream
from plugins.module_utils._proof.vm_nginx.plan import plan
from plugins.module_utils._routes.load import load
from plugins.module_utils._routes.schema import Route
from tests.unit.proof.materials import routes
from tests.unit.proof.nodes import GATEWAY, TLS_DIR

PLAIN = Given("vm", "r1", "PEM", address="198.18.0.11", clients=["client"])
GIVEN = dataclasses.replace(PLAIN, echo_path="/headers", websocket_path="/ws")
NGINX = Upstream((GATEWAY,), "shop.example.com", "shop.example.com", True, 3, "/ca", "/cert", "/key", "1.1", "shop.example.com")


def made(route: Route, given: Given = GIVEN, machine: Machine | None = None) -> list[Proof]:
    return plan([route], machine or Machine({"main": [GATEWAY]}, {route.name: NGINX}), given)


def variant(**changes: Any) -> Route:
    entry = {
        "name": "shop",
        "host": "shop.example.com",
        "listen": {"certificate": "c"},
        "paths": [{"service": {"namespace": "a", "name": "b", "port": 80}}],
    }
    return load([{**entry, **changes}])[0]


MUTUAL = {"mode": "mutual", "client_certificate": "edge-client"}
VARIANTS = {
    "simple": variant(),
    "mutual": variant(upstream_tls=MUTUAL),
    "passthrough": variant(upstream_tls={"mode": "passthrough"}),
    "plain listener": variant(listen={"tls": False}),
    "unverified": variant(upstream_tls={"verify": False}),
    "unverified plain listener": variant(listen={"tls": False}, upstream_tls={"verify": False}),
    "no redirect, no HTTP/2": variant(listen={"certificate": "c", "redirect_http": False, "http2": False}),
    "passed on": variant(listen={"mode": "passthrough"}, upstream_tls={"mode": "simple"}),
    "passed on, to the app": variant(listen={"mode": "passthrough"}, upstream_tls={"mode": "passthrough"}),
    "files": variant(
        listen={"certificate": {"cert_file": "/a.crt", "key_file": "/a.key"}},
        upstream_tls={"server_ca": {"file": "/ca.crt"}},
    ),
}


def test_where_tls_is_passed_on_nothing_is_asked_of_nginxs_own() -> None:
    proofs = made(variant(listen={"mode": "passthrough"}, proxy={"proxy_protocol": True}))
    checks = {proof.check for proof in proofs}
    assert {
        "listener.certificate",
        "listener.foreign_ca",
        "listener.unknown_host",
        "gateway.tls",
        "gateway.wrong_host",
        "path.mesh",
    } <= checks
    assert not [check for check in checks if check.startswith("nginx.")]
    assert not checks & {"listener.http2", "path.access_log", "path.client_address", "path.forged_address"}
    direct = [proof.probe for proof in proofs if proof.check.startswith("gateway.") and proof.probe]
    assert {probe["proxy_protocol"] for probe in direct} == {"v1"}
    assert not [proof for proof in proofs if proof.vantage == "client" and proof.probe and "proxy_protocol" in proof.probe]


def test_http3_is_claimed_where_it_is_declared() -> None:
    (proof,) = [
        proof for proof in made(variant(listen={"certificate": "c", "http3": True, "port": 8443})) if proof.check == "listener.http3"
    ]
    assert (proof.wanted["offer"], proof.judge) == ('h3=":8443"', "offers")
    assert not [proof for proof in made(variant()) if proof.check == "listener.http3"]


def test_clients_certificates_are_not_ours_to_test() -> None:
    # to the app's own pod the way does not lead through nginx
    proofs = [proof for proof in made(variant(listen={"mode": "passthrough"}, upstream_tls={"mode": "mutual"})) if proof.vantage != "pod"]
    assert {bool(proof.probe) for proof in proofs} == {False}
    assert {proof.reason for proof in proofs} == {"clients show certificates of their own to the gateway, and none of them is here"}


@pytest.mark.parametrize("route", VARIANTS.values(), ids=VARIANTS)
def test_enough_claims_can_be_proven_without_help_from_the_app(route: Route) -> None:
    proofs = made(route, PLAIN)
    testable = {proof.check for proof in proofs if proof.probe}
    polarity = [CHECKS[check].polarity for check in testable]
    assert polarity.count(POSITIVE) >= 5
    assert polarity.count(NEGATIVE) >= 6


@pytest.mark.parametrize("route", VARIANTS.values(), ids=VARIANTS)
def test_ids_are_unique_controls_exist_and_probes_can_be_sent(route: Route) -> None:
    proofs = made(route)
    ids = [proof.id for proof in proofs]
    assert len(ids) == len(set(ids))
    assert {proof.control for proof in proofs} - {""} <= set(ids)
    for entries in probes(proofs).values():
        names = [spec.path(entry).name for entry in entries]
        assert len(names) == len(set(names))


@pytest.mark.parametrize("route", VARIANTS.values(), ids=VARIANTS)
def test_a_negative_proof_that_expects_a_refusal_has_a_control(route: Route) -> None:
    for proof in made(route):
        if CHECKS[proof.check].polarity == NEGATIVE:
            assert proof.control, proof.id


def test_only_verdicts_on_the_chain_use_it_and_only_they() -> None:
    """A refusal has to be the other side's, not ours."""
    judged = {"gateway.foreign_ca", "gateway.wrong_name", "listener.foreign_ca", "listener.wrong_name"}
    for proof in made(VARIANTS["mutual"]):
        probe = spec.path(proof.probe) if proof.probe else None
        if probe and probe.expect.refused:
            assert (probe.tls is not None and probe.tls.rules == "nginx") == (proof.check in judged), proof.id


def test_mode_mutual_uses_the_client_certificate_wherever_it_is_not_what_is_tested() -> None:
    for proof in made(VARIANTS["mutual"]):
        tls = (proof.probe or {}).get("tls")
        if not tls or not proof.check.startswith("gateway."):
            continue
        if proof.check == "gateway.no_client_certificate":
            assert "client" not in tls
        elif proof.check == "gateway.foreign_client_certificate":
            assert tls["client"] == {"foreign": True}
        else:
            assert tls["client"]["cert_file"] == f"{TLS_DIR}/edgemesh/edge-client/tls.crt"


@pytest.mark.parametrize(
    ("name", "absent"),
    {
        "simple": {
            "gateway.no_client_certificate",
            "gateway.foreign_client_certificate",
            "nginx.client_certificate",
            "path.client_identity",
        },
        "passthrough": {"gateway.http10", "gateway.wrong_host", "nginx.host", "path.mesh", "path.client_address", "mesh.mtls"},
        "plain listener": {
            "listener.certificate",
            "listener.http2",
            "listener.redirect",
            "listener.old_tls",
            "listener.plaintext",
            "path.http2",
            "path.scheme",
        },
        "unverified": {"gateway.foreign_ca", "gateway.wrong_name", "nginx.ca"},
        "no redirect, no HTTP/2": {"listener.redirect", "listener.http2", "path.http2"},
    }.items(),
)
def test_what_cannot_be_is_not_planned(name: str, absent: set[str]) -> None:
    planned = {proof.check for proof in made(VARIANTS[name])}
    assert not absent & planned
    assert planned <= CHECKS.keys()


def test_every_address_of_the_gateway_is_probed_and_those_that_only_nginx_has() -> None:
    machine = Machine({"main": ["192.0.2.1:30443", "[2001:db8::1]:30443"]}, {"shop": NGINX})
    targets = {proof.target for proof in made(variant(), machine=machine) if proof.vantage == "vm"}
    assert targets == {"192.0.2.1:30443", "[2001:db8::1]:30443", GATEWAY}
    probe = next(proof.probe for proof in made(variant(), machine=machine) if proof.target.startswith("["))
    assert probe
    assert (probe["address"], probe["port"]) == ("2001:db8::1", 30443)


def test_without_an_address_the_proofs_are_there_and_say_why_they_cannot_be_made() -> None:
    proofs = [proof for proof in made(variant(), machine=Machine()) if proof.vantage == "vm"]
    assert {proof.check for proof in proofs} >= {"gateway.tls", "gateway.no_sni", "gateway.answer"}
    assert all(proof.probe is None and "no address of gateway main" in proof.reason for proof in proofs)


def test_what_the_app_does_not_offer_is_said() -> None:
    reasons = {proof.check: proof.reason for proof in made(variant(), PLAIN) if proof.reason}
    assert set(reasons) >= {"path.client_address", "path.forged_address", "path.websocket", "mesh.mtls"}
    assert "verify_echo_path" in reasons["path.client_address"]


def test_clients_use_the_ca_that_was_found_else_their_systems() -> None:
    route = variant()
    for trust, expected in (({"shop": "PEM of a CA"}, ("ca_pem", "PEM of a CA")), ({}, ("ca_file", "/etc/ssl/certs/ca-certificates.crt"))):
        machine = Machine({"main": [GATEWAY]}, trust=trust)
        probe = next(proof.probe for proof in made(route, machine=machine) if proof.check == "path.answer")
        assert probe
        assert probe["tls"][expected[0]] == expected[1]


def test_the_same_inputs_give_the_same_plan() -> None:
    assert made(variant()) == made(variant())


def test_two_routes_do_not_meet() -> None:
    machine = Machine({"main": [GATEWAY]})
    ids = [proof.id for proof in plan(routes(), machine, dataclasses.replace(GIVEN, clients=["a", "b"]))]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize(
    ("text", "pair"),
    [("192.0.2.1:443", ("192.0.2.1", 443)), ("[2001:db8::1]:443", ("2001:db8::1", 443)), ("gw.example:1", ("gw.example", 1))],
)
def test_addresses_come_apart_and_together(text: str, pair: tuple[str, int]) -> None:
    assert split(text) == pair
    assert join(*pair) == text


def test_directives_and_fixes_are_those_of_grpc_where_nginx_passes_grpc_on() -> None:
    nginx = dataclasses.replace(NGINX, prefix="grpc", verify=False)
    proofs = {proof.check: proof for proof in made(VARIANTS["mutual"], machine=Machine({"main": [GATEWAY]}, {"shop": nginx}))}
    names = ("nginx.ca", "nginx.client_certificate", "nginx.http_version")
    assert [proofs[name].wanted["setting"].partition("_")[0] for name in names] == ["grpc"] * 3
    seen = {"checks": [], "ok": True, "source": "192.0.2.1", "http": {"status": 200, "version": "2", "body": '{"headers": {"Host": "x"}}'}}
    verdict = judge(KIND, proofs["nginx.ca"].as_dict(), seen, Evidence())
    assert (verdict.code, verdict.observed) == ("UPSTREAM_NOT_VERIFIED", "grpc_ssl_verify off, or no grpc_ssl_trusted_certificate")
    assert judge(KIND, proofs["path.client_address"].as_dict(), seen, Evidence()).fix == "grpc_set_header X-Forwarded-For $remote_addr;"
