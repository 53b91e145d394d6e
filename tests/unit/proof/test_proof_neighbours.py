# SPDX-License-Identifier: GPL-3.0-or-later
"""Routes of other lists on a VM that the run changed: they must answer, and are never taken for the run's own."""

from __future__ import annotations

import html
import re
from typing import Any

import pytest

from plugins.module_utils._errors import EdgeError
from plugins.module_utils._probe import spec
from plugins.module_utils._proof import entry
from plugins.module_utils._proof.html import page
from plugins.module_utils._proof.judge import judge
from plugins.module_utils._proof.kind import neighbour
from plugins.module_utils._proof.model import NOBODY, Proof, probes
from plugins.module_utils._proof.report import Run, report
from plugins.module_utils._proof.verdict import FAILED, NOT_TESTED, OK, Evidence
from plugins.module_utils._proof.vm_nginx.kind import KIND
from plugins.module_utils._proof.vm_nginx.machine import Given, Machine
from plugins.module_utils._proof.vm_nginx.plan import plan
from plugins.module_utils._routes.reading import Reading
from tests.unit.proof.materials import SHOP, others, routes
from tests.unit.proof.world import PLANNED, VMS, World, neighbour_of

ANSWERS, STRANGER = "neighbour.answers", "neighbour.stranger"


def planned(asks: bool = False) -> dict[str, Proof]:
    """By check, for a VM that serves nothing of the run's."""
    given: Given = entry.given(KIND, {**PLANNED, "neighbours": [neighbour_of(others()[0], asks)]}, "vm", False)
    return {proof.check: proof for proof in plan([], Machine(), given)}


def failed(model: dict[str, Any]) -> set[str]:
    return {line["id"] for line in model["proofs"] if line["status"] == FAILED}


def text(model: dict[str, Any]) -> str:
    return html.unescape(re.sub("<[^>]*>", " ", page(model).partition("</style>")[2]))


def test_they_are_asked_from_the_vm_itself_and_so_is_a_stranger() -> None:
    found = planned()
    assert [(proof.id, proof.vantage, proof.route, proof.other_list, proof.required) for proof in found.values()] == [
        ("team-b/store/neighbour.answers/vm>store.example.com:443", "vm", "store", "team-b", True),
        ("team-b/store/neighbour.stranger/vm>store.example.com:443", "vm", "store", "team-b", True),
    ]
    route, stranger = (spec.path(proof.probe or {}) for proof in found.values())
    assert (route.target, route.tls and route.tls.sni, route.http and route.http.host) == (
        "127.0.0.1:443",
        "store.example.com",
        "store.example.com",
    )
    assert (stranger.target, stranger.tls and stranger.tls.sni, stranger.http and stranger.http.host) == ("127.0.0.1:443", NOBODY, NOBODY)
    assert (found[ANSWERS].expected, found[STRANGER].control) == ("HTTP 200 to 499", found[ANSWERS].id)
    assert found[STRANGER].beside == found[ANSWERS].probe
    assert len(probes(list(found.values()))["vm"]) == 2


@pytest.mark.parametrize("more", [{}, {"probes": []}, {"probes": None}])
def test_what_is_served_and_says_of_no_way_to_ask_for_it_is_left_out(more: dict[str, Any]) -> None:
    """Such as extra files, or what was there before a run said how."""
    given = entry.given(KIND, {**PLANNED, "neighbours": [{"list": "team-b", "name": "files", **more}]}, "vm", False)
    assert plan([], Machine(), given) == []


def test_where_nothing_changed_there_is_no_such_claim() -> None:
    assert not [line for line in World().run()["proofs"] if line["check"].startswith("neighbour.")]


def test_one_that_answers_is_told_and_not_counted_as_proven() -> None:
    model = World(list_name="team-a", others=others()).run()
    assert model["ok"]
    assert (model["list"], {route["list"] for route in model["routes"]}) == ("team-a", {"team-a"})
    assert (model["summary"]["routes"], model["summary"]["proven"]) == (2, 2)
    (found,) = model["neighbours"]
    assert (found["list"], found["name"], found["ok"], found["at"]) == ("team-b", "store", True, sorted(VMS))
    assert model["text"][-1] == "route store of list team-b (not of this run): answers on vm-deb12, vm-deb13"
    lists = {(line["list"], line["neighbour"]) for line in model["proofs"]}
    assert lists == {("team-a", False), ("team-b", True)}
    assert {hop["route"] for hop in model["hops"]} == {"shop", "pay"}


def test_one_that_does_not_answer_fails_the_proof_and_is_called_another_lists() -> None:
    world = World(others=others())
    world.nginx["vm-deb12", "store"].sends_sni = False
    model = world.run()
    assert failed(model) == {"team-b/store/neighbour.answers/vm-deb12>store.example.com:443"}
    assert (model["ok"], model["unproven"], [route["ok"] for route in model["routes"]]) == (
        False,
        ["route store of list team-b"],
        [True] * 2,
    )
    (failure,) = model["failures"]
    assert (failure["code"], failure["list"], failure["neighbour"]) == ("NEIGHBOUR_SILENT", "team-b", True)
    assert failure["why"].startswith("Another list's route, which this run does not make, does not answer on a VM that this run changed: ")
    assert "502" in failure["why"]
    assert failure["fix"].startswith("ansible-playbook edgemesh.nginx_istio.diagnose -e diagnose_host=store.example.com")
    assert model["text"][0].startswith("FAILED route store of list team-b: NEIGHBOUR_SILENT: ")
    stranger = next(line for line in model["proofs"] if line["check"] == STRANGER and line["from"] == "vm-deb12")
    assert (stranger["status"], stranger["cause"]["root"]) == (NOT_TESTED, next(iter(failed(model))))
    assert "Every route of this run is proven; route store of list team-b not seen to answer" in text(model)


def test_one_without_a_result_is_missing() -> None:
    model = World(others=others(), drop=ANSWERS).run()
    assert not model["ok"]
    assert model["neighbours"][0]["status"] == NOT_TESTED
    assert "brought no result" in model["neighbours"][0]["missing"][0]


def test_a_failing_route_takes_no_cause_from_a_neighbour_of_the_same_name() -> None:
    twin = others()[0]
    world = World(routes=routes()[:1])
    given = world.given("vm-deb12")
    named = neighbour({**neighbour_of(twin), "name": "shop"}, "neighbours")
    proofs = plan(world.routes, world.machine("vm-deb12"), Given(**{**vars(given), "neighbours": [named]}))
    model = report(Run("0.1.0"), [(KIND, world.routes[0])], [proof.as_dict() for proof in proofs], [], Evidence(), [])
    own = [line for line in model["proofs"] if not line["neighbour"]]
    assert sum(model["routes"][0]["counts"].values()) == len(own) == len(model["proofs"]) - 2


def test_check_mode_knows_no_failed_neighbour() -> None:
    world = World(others=others(), check_mode=True)
    world.nginx["vm-deb12", "store"].sends_sni = False
    model = world.run()
    assert (model["failures"], model["neighbours"][0]["status"]) == ([], NOT_TESTED)


def result(status: int = 0, body: str = "", code: str = "", phase: str = "http", app: bool = False) -> dict[str, Any]:
    headers = {"x-envoy-upstream-service-time": "2"} if app else {}
    http = {"status": status, "version": "1.1", "headers": headers, "body": body} if status else None
    ok = not code
    return {"ok": ok, "code": code, "sentence": "why.", "phase": phase, "checks": [], "http": http, "tls": None, "observed": "seen"}


@pytest.mark.parametrize(
    ("route", "stranger", "status"),
    [
        (result(404, "no such page"), result(code="TLS_REFUSED", phase="tls_handshake"), OK),
        (result(404, "no such page"), result(code="HTTP_NO_ANSWER"), OK),
        (result(404, "of the app"), result(404, "nginx's own", "NOT_REFUSED"), OK),
        (result(404, "nginx's own"), result(404, "nginx's own", "NOT_REFUSED"), FAILED),
        (result(200, "welcome"), result(200, "welcome", "NOT_REFUSED"), FAILED),
        (result(200, "at 10:00"), result(200, "at 10:01", "NOT_REFUSED"), FAILED),
        (result(200, app=True), result(200, "a site of nginx's own", "NOT_REFUSED"), OK),
        (result(200, app=True), result(404, "another app's", "NOT_REFUSED", app=True), FAILED),
        (result(200, "welcome"), result(code="CONNECTION_REFUSED", phase="tcp"), NOT_TESTED),
        (result(code="CLIENT_CERT_MISSING"), result(code="TLS_REFUSED", phase="tls_handshake"), OK),
        (result(code="CLIENT_CERT_MISSING"), result(code="CLIENT_CERT_MISSING", phase="tls_first_read"), FAILED),
    ],
)
def test_an_answer_that_anybody_gets_shows_nothing_of_the_route(route: dict[str, Any], stranger: dict[str, Any], status: str) -> None:
    proof = planned()[STRANGER].as_dict()
    verdict = judge(KIND, proof, stranger, Evidence(beside={proof["beside"]["name"]: route}))
    assert (verdict.status, verdict.code) == (status, "SERVED_TO_ANYBODY" if status == FAILED else "")


def test_one_whose_clients_show_certificates_must_ask_for_one() -> None:
    found = planned(asks=True)
    assert found[ANSWERS].expected == "refused: CLIENT_CERT_MISSING"
    assert not (found[ANSWERS].probe or {}).get("http")
    asked = {**result(code="CLIENT_CERT_MISSING"), "ok": True}
    assert judge(KIND, found[ANSWERS].as_dict(), asked, Evidence()).status == OK
    verdict = judge(KIND, found[ANSWERS].as_dict(), result(code="CONNECTION_REFUSED", phase="tcp"), Evidence())
    assert (verdict.status, verdict.code) == (FAILED, "NEIGHBOUR_SILENT")


@pytest.mark.parametrize(
    ("value", "where"),
    [
        ("store", "given.neighbours"),
        ([{"name": "store", "probes": []}], r"given.neighbours\[0\].list"),
        ([{"list": "team-b", "name": "store", "probes": [{"name": "store"}]}], r"given.neighbours\[0\].probes"),
        (
            [{"list": "team-b", "name": "store", "probes": [{"name": "a", "address": "127.0.0.1", "port": 0}]}],
            r"given.neighbours\[0\].probes",
        ),
    ],
)
def test_what_is_no_neighbour_is_refused(value: Any, where: str) -> None:
    with pytest.raises(EdgeError, match=where):
        entry.given(KIND, {**PLANNED, "neighbours": value}, "vm", False)


@pytest.mark.parametrize(
    ("variables", "ok"),
    [
        ({}, False),
        ({"edge_routes": [{**SHOP, "state": "absent"}]}, True),
        ({"edge_routes": [], "edge_exclusive": True}, True),
    ],
)
def test_a_run_that_takes_routes_away_may_have_none_left_to_prove(variables: dict[str, Any], ok: bool) -> None:
    text = Reading.of_variables(variables).text()
    options = {"routes": text, "seen": [], "answers": [], "log": [], "absent": [], "minimum": {}, "run": "r1"}
    model = entry.reported(options, check=False)
    assert (model["ok"], model["unproven"], model["text"]) == (ok, [] if ok else ["there is no route"], ["There is no route to prove."])


def test_the_page_sets_them_apart() -> None:
    words = text(World(list_name="team-a", others=others()).run())
    own, apart = words.split("Other lists' routes on the same host")
    assert "None of these is a route of this run, and none counts as proven" in apart
    assert "list team-b" in apart
    assert "list team-b" not in own
    assert own.count("list team-a") == 2


def test_the_page_names_no_list_where_there_is_but_the_default_one() -> None:
    assert not re.search(r"(?i)list (team|<b>|default)|other lists", text(World().run()))
