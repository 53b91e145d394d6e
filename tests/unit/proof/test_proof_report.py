# SPDX-License-Identifier: GPL-3.0-or-later
"""The report as a whole: what makes a route proven, what is missed, and what never gets in."""

from __future__ import annotations

import json
from typing import Any

import pytest

from plugins.module_utils._proof.checks import NEGATIVE, POSITIVE
from plugins.module_utils._proof.report import Run, report
from plugins.module_utils._proof.verdict import Evidence
from plugins.module_utils._proof.vm_nginx.catalogue import CHECKS
from plugins.module_utils._proof.vm_nginx.kind import KIND
from tests.unit.proof.materials import others, routes
from tests.unit.proof.nodes import GATEWAY
from tests.unit.proof.world import CLIENTS, VMS, World


@pytest.fixture(scope="module")
def good() -> dict[str, Any]:
    return World(others=others()).run()


def test_a_healthy_world_is_proven_without_a_false_alarm(good: dict[str, Any]) -> None:
    assert good["ok"]
    assert {line["status"] for line in good["proofs"]} == {"ok"}
    assert good["failures"] == []
    for route in good["routes"]:
        assert route["claims"][POSITIVE] >= 5
        assert route["claims"][NEGATIVE] >= 6
    assert {line["check"] for line in good["proofs"]} == CHECKS.keys()


def test_every_line_has_an_observed_value_and_a_time(good: dict[str, Any]) -> None:
    assert all(line["observed"] and line["started"] and line["times"] for line in good["proofs"])


def test_it_is_plain_json_and_has_no_key_material(good: dict[str, Any]) -> None:
    text = json.dumps(good)
    assert json.loads(text) == good
    assert "PRIVATE KEY" not in text
    assert "BEGIN CERTIFICATE" not in text
    assert "tls.key" not in text


def test_hops_are_in_the_order_of_the_path_and_say_how_their_ends_speak(good: dict[str, Any]) -> None:
    hops = [hop for hop in good["hops"] if hop["route"] == "pay"]
    assert [hop["hop"] for hop in hops] == ["listener", "gateway", "mesh", "path"]
    assert [hop["session"] for hop in hops] == ["TLS 1.3", "mTLS 1.3", "mesh mTLS", ""]
    assert all(fact["value"] and fact["at"] for hop in hops for fact in hop["facts"])


def test_certificates_carry_dates_and_fingerprints_and_where_they_are(good: dict[str, Any]) -> None:
    uses = {(entry["route"], entry["use"]) for entry in good["certificates"]}
    assert {("pay", "nginx presents"), ("pay", "the gateway presents"), ("pay", "nginx shows the gateway")} <= uses
    for entry in good["certificates"]:
        assert len(entry["sha256"]) == 64
        assert entry["not_after"] > entry["not_before"]
        assert entry["at"]


@pytest.mark.parametrize("check", ["gateway.tls", "gateway.no_sni", "path.answer", "listener.certificate", "gateway.http10"])
def test_a_required_proof_that_nobody_brought_is_missed(check: str) -> None:
    model = World(drop=f"shop/{check}/").run()
    assert not model["ok"]
    shop = next(route for route in model["routes"] if route["name"] == "shop")
    assert any(CHECKS[check].title in what and "brought no result" in what for what in shop["missing"])
    assert next(route for route in model["routes"] if route["name"] == "pay")["ok"]


def test_what_is_not_required_may_stay_untested() -> None:
    model = World(curl=False, echo_path="", websocket_path="").run()
    assert model["ok"]
    untested = {line["check"] for line in model["proofs"] if line["status"] == "not_tested"}
    assert untested == {"path.http2", "path.websocket", "path.client_address", "path.scheme", "path.client_identity",
                        "path.forged_address", "path.forged_identity", "mesh.mtls"}  # fmt: skip
    assert all(line["cause"]["why"] for line in model["proofs"] if line["status"] == "not_tested")


def test_too_few_claims_are_no_proof(good: dict[str, Any]) -> None:
    model = World(minimum={POSITIVE: 5, NEGATIVE: 99}).run()
    assert not model["ok"]
    assert any("99 are needed" in what for what in model["routes"][0]["missing"])


def test_a_vm_that_took_no_part_is_missed() -> None:
    model = World(absent=("vm-gone",)).run()
    assert not model["ok"]
    assert any("vm-gone took no part" in what for what in model["routes"][0]["missing"])


def test_check_mode_knows_no_failure_and_proves_nothing_either() -> None:
    world = World(check_mode=True)
    for vm in VMS:
        world.nginx[vm, "shop"].sends_sni = False
    model = world.run()
    assert not model["ok"]
    assert model["failures"] == []
    assert {line["status"] for line in model["proofs"]} == {"ok", "not_tested"}
    assert any("check mode" in line["cause"].get("why", "") for line in model["proofs"])


def test_a_route_that_no_vm_serves_is_not_proven() -> None:
    model = report(Run("0.1.0"), [(KIND, route) for route in routes()], [], [], Evidence(), [])
    assert not model["ok"]
    assert "no VM of this run serves it" in model["routes"][0]["missing"][0]


def test_nothing_to_prove_is_no_proof() -> None:
    model = report(Run("0.1.0"), [], [], [], Evidence(), [])
    assert not model["ok"]
    assert model["text"] == ["There is no route to prove."]


def test_the_text_shows_failures_once_with_cause_and_fix() -> None:
    world = World()
    world.nginx["vm-deb12", "shop"].sends_sni = False
    text = world.run()["text"]
    assert text[0].startswith("FAILED shop: NO_SNI: ")
    assert text[1].startswith("  fix: proxy_ssl_server_name on;")
    assert sum("FAILED" in line for line in text) == 1
    assert len(text) == 2 + 1 + len(CLIENTS) + 2


def test_a_root_cause_comes_before_what_it_explains() -> None:
    world = World()
    world.nginx["vm-deb13", "pay"].cert_file = ""
    model = world.run()
    first = model["failures"][0]["proofs"]
    assert first[0] == f"pay/nginx.client_certificate/vm-deb13>{GATEWAY}"
    assert {line["cause"].get("root") for line in model["proofs"] if line["id"] in first[1:]} == {first[0]}
