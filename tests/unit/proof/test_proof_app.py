# SPDX-License-Identifier: GPL-3.0-or-later
"""The claim that the app's own pods take no plaintext, as a pod without a sidecar makes it."""

from __future__ import annotations

from typing import Any

import pytest

from plugins.module_utils._probe.spec import Http
from plugins.module_utils._proof.carried import Asked
from plugins.module_utils._proof.model import probes
from plugins.module_utils._proof.vm_nginx import app
from plugins.module_utils._proof.vm_nginx.machine import Given
from tests.unit.proof.materials import routes
from tests.unit.proof.world import APP, APP6, POD, VMS, World

Lines = dict[tuple[str, str], dict[str, Any]]


def lines(world: World) -> Lines:
    """Of route shop, by check and target."""
    found = [line for line in world.run()["proofs"] if line["check"].startswith("app.") and line["route"] == "shop"]
    assert len({line["id"] for line in found}) == len(found)
    return {(line["check"], line["to"]): line for line in found}


def statuses(found: Lines) -> dict[tuple[str, str], str]:
    return {key: line["status"] for key, line in found.items()}


def test_it_holds_at_every_address_of_the_app_and_is_proven_once_for_all_vms() -> None:
    found = lines(World())
    assert statuses(found) == {(check, place): "ok" for check in ("app.sidecar", "app.plaintext") for place in (APP, APP6)}
    assert {line["from"] for line in found.values()} == {POD}
    assert found["app.sidecar", APP]["observed"] == "spiffe://cluster.local/ns/shop/sa/web"


def test_where_plaintext_is_answered_that_is_the_cause_and_the_control_holds() -> None:
    found = lines(World(app=dict.fromkeys((APP, APP6), "permissive")))
    assert statuses(found) == {
        (check, place): status for place in (APP, APP6) for check, status in (("app.sidecar", "ok"), ("app.plaintext", "failed"))
    }
    cause = found["app.plaintext", APP]["cause"]
    assert cause["code"] == "APP_TAKES_PLAINTEXT"
    assert "STRICT" in cause["fix"]


def test_an_address_that_the_sidecar_does_not_take_in_is_outside_the_mesh() -> None:
    found = lines(World(app={APP: "strict", APP6: "bare"}))
    assert found["app.sidecar", APP6]["cause"]["code"] == "APP_OUTSIDE_MESH"
    assert found["app.plaintext", APP6]["cause"]["root"] == found["app.sidecar", APP6]["id"]
    assert found["app.plaintext", APP]["status"] == "ok"


def test_where_nobody_can_connect_nothing_is_said_of_the_app() -> None:
    found = lines(World(app=dict.fromkeys((APP, APP6), "closed")))
    assert set(statuses(found).values()) == {"not_tested"}
    assert "NetworkPolicy" in found["app.sidecar", APP]["cause"]["why"]


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"no_pod": "no image is named"}, "no image is named"),
        ({"pod": POD, "no_pod": "the API server refuses"}, "the API server refuses"),
        ({"pod": POD, "apps": [{"namespace": "shop", "name": "web", "port": 8080, "addresses": [], "reason": "it is gone"}]}, "it is gone"),
    ],
)
def test_without_a_pod_or_an_address_it_is_not_tested_and_the_reason_is_said(given: dict[str, Any], reason: str) -> None:
    route = routes()[0]
    proofs = app.AppPlan(route, Given("vm", "r1", address="192.0.2.11", **given), route.paths[0].service).proofs()
    assert [(proof.check, proof.probe, proof.reason, proof.required) for proof in proofs] == [
        ("app.sidecar", None, reason, False),
        ("app.plaintext", None, reason, False),
    ]


def test_the_pod_is_asked_once_by_all_vms_and_ids_do_not_name_it() -> None:
    route, world = routes()[0], World()
    plans = [app.AppPlan(route, world.given(vm), route.paths[0].service).proofs() for vm in VMS]
    asked = Asked.of([Asked(probes(plan)).text() for plan in plans])
    assert {name: len(entries) for name, entries in asked.probes.items()} == {POD: 4}
    assert plans[0][0].id == f"shop/app.sidecar/pod>{APP}"


def test_claim_and_control_differ_in_tls_alone() -> None:
    control, claim = app.sidecar_probe("192.0.2.5:8080"), app.plaintext_probe("192.0.2.5:8080", Http(path="/status/418"))
    assert (control.tls is None, control.http is None) == (False, True)
    assert (claim.tls is None, claim.http is None) == (True, False)
    assert control.expect.refused
    assert claim.expect.refused


def result(*sans: str, ok: bool = True) -> dict[str, Any]:
    return {"ok": ok, "tls": {"chain": [{"sans": list(sans)}]}}


def test_only_the_apps_own_sidecar_is_its_sidecar() -> None:
    own = "spiffe://cluster.local/ns/shop/sa/web"
    assert app.identity(result(f"URI:{own}"), "shop") == own
    assert app.identity(result("URI:spiffe://cluster.local/ns/other/sa/web"), "shop") == ""
    assert app.identity(result("DNS:shop.example.com"), "shop") == ""
    assert app.identity(result(f"URI:{own}", ok=False), "shop") == ""
    assert app.identity({"ok": False, "tls": None}, "shop") == ""
