# SPDX-License-Identifier: GPL-3.0-or-later
"""Two teams and a survey on the same VMs and gateway: every route of every list keeps answering, and a run changes its own list alone."""

from __future__ import annotations

import random
import re
from collections.abc import Callable

import pytest

from tests.integration.lists.lists_world import LONG, ONE, World, changed_tasks, of_list, proof, route, survey, unchanged
from tests.integration.nginx.nginx_load import Load

pytestmark = [pytest.mark.lab, pytest.mark.vms]

A = [route("a-shop"), route("a-pay", "simple")]
B = [route("b-store", on=ONE)]
SURVEYS = [f"survey-{number}" for number in range(1, 6 if LONG else 4)]
#: those that another file's tests have left serving included
LISTS = {"a", "b", "c", "d", "survey"}
ROUNDS = 3 if LONG else 1


def run_of(world: World, name: str) -> dict[str, object]:
    """The variables of one of the runs: list a, list b, or one answer to the survey."""
    if name in SURVEYS:
        return {**world.values("survey", []), **survey(name)}
    return world.values(name, A if name == "a" else B)


def serves(world: World, name: str) -> None:
    routes = {"a": ["a-shop", "a-pay"], "b": ["b-store"]}.get(name, [name])
    world.serving.update({each: [world.vms[1]] if name == "b" else world.vms for each in routes})


def test_whatever_runs_every_list_keeps_serving(world: World, load: Callable[[str], Load]) -> None:
    world.run(run_of(world, "a"))
    serves(world, "a")
    order, seed = ["a", "b", *SURVEYS] * ROUNDS, random.randrange(10**6)
    random.Random(seed).shuffle(order)
    print(f"order {seed}: {order}", flush=True)
    with load("a-shop.lists.example.com") as running:
        for name in order:
            before, mine = world.state(), name.partition("-")[0]
            world.run(run_of(world, name))
            serves(world, name)
            world.everything_answers()
            unchanged(before, world.state(), LISTS - {mine})
        unchanged(world.state(), before := world.state(), LISTS)
        for name in ("a", "b", *SURVEYS) if LONG else ("b", SURVEYS[0]):
            assert changed_tasks(world.run(run_of(world, name))) == {"0"}, name
        assert world.state() == before
    running.check(running.texts, f"{len(order)} runs of three lists")


def test_the_proof_says_whose_routes_it_is_about_and_that_neighbours_answer(world: World) -> None:
    world.run(world.values("b", [{**B[0], "proxy": {"client_max_body_size": "7m"}}]))
    found = proof(world)
    assert [(each["name"], each["list"]) for each in found["routes"]] == [("b-store", "b")]
    others = world.serving.keys() - {"b-store"}
    assert {each["owner"] for each in found["neighbours"]} == {f"route {name} of list {name.partition('-')[0]}" for name in others}
    assert all(each["ok"] and each["at"] == [world.vms[1]] for each in found["neighbours"]), found["neighbours"]


def test_a_route_goes_with_everything_that_was_made_for_it_alone(world: World, load: Callable[[str], Load]) -> None:
    before = world.state()
    gone = {"name": "a-pay", "state": "absent"}
    with load("a-shop.lists.example.com") as running:
        foreseen = world.run(world.values("a", [A[0], gone]), "site.yml", "--check")
        assert "a-pay" in foreseen
        assert world.state() == before
        world.run(world.values("a", [A[0], gone]))
    running.check(running.texts, "a route of the list goes")
    del world.serving["a-pay"]
    world.everything_answers()
    after = world.state()
    unchanged(before, after, LISTS - {"a"})
    # an upstream has its content for a name, and a-pay's was nobody else's
    gone_with_it = {place for place in before.keys() - after.keys() if "/upstream-" in place}
    assert {place for place in before if "a-pay" in place} | gone_with_it == before.keys() - after.keys()
    assert not {place for place in after if "a-pay" in place}
    # the Secret that both routes of the list shared, and the files of it, are still there as they were
    assert of_list({place: version for place, version in after.items() if "a-client" in place}, "a")
    assert world.ask(world.vms[0], "a-pay.lists.example.com") != "418"
    assert changed_tasks(world.run(world.values("a", [A[0], gone]))) == {"0"}


def test_a_survey_takes_its_route_away(world: World) -> None:
    before = world.state()
    world.run({**world.values("survey", []), "edge_name": SURVEYS[-1], "edge_state": "absent"})
    del world.serving[SURVEYS[-1]]
    world.everything_answers()
    unchanged(before, world.state(), {"a", "b"})
    assert not {place for place in world.state() if SURVEYS[-1] in place}


def test_an_exclusive_run_removes_what_check_mode_named(world: World) -> None:
    values = {**world.values("survey", []), **survey("survey-1"), "edge_exclusive": True}
    before = world.state()
    foreseen = world.run(values, "site.yml", "--check")
    assert world.state() == before
    going = set(re.findall(r"survey/(survey-\d)", foreseen))
    assert going == set(SURVEYS[1:-1])
    printed = world.run(values)
    assert set(re.findall(r"survey/(survey-\d)", printed)) == going
    for name in going:
        del world.serving[name]
    world.everything_answers()
    after = world.state()
    unchanged(before, after, {"a", "b"})
    assert not {place for place in after for name in going if name in place}
    assert not [place for place in before if place not in after and not any(name in place for name in going) and "upstream-" not in place]


def test_a_list_is_torn_down_while_the_others_serve(world: World, load: Callable[[str], Load]) -> None:
    before = world.state()
    with load("a-shop.lists.example.com") as running:
        refused = world.run(world.values("b", B, edge_remove_ca=True), "teardown.yml", good=False)
        assert re.search(r"list a\b", refused), refused[-3000:]
        world.run(world.values("b", []), "teardown.yml")
        world.run(world.values("b", []), "teardown.yml")
    running.check(running.texts, "list b is torn down")
    del world.serving["b-store"]
    world.everything_answers()
    after = world.state()
    unchanged(before, after, LISTS - {"b"})
    assert not of_list(after, "b")


def test_the_end_of_all_lists_leaves_nothing(world: World) -> None:
    world.run(world.values("default", [], edge_all_lists=True, edge_remove_ca=True), "teardown.yml")
    assert world.state() == {}
    for vm in world.vms:
        assert "edgemesh" not in world.snapshot(vm)
