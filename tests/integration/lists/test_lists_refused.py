# SPDX-License-Identifier: GPL-3.0-or-later
"""What another list has is refused before anything changes, by the names of list and route; also where both run at the same moment."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.lists.lists_world import ONE, World, route, unchanged

pytestmark = [pytest.mark.lab, pytest.mark.vms]

A = route("a-shop")


@pytest.fixture(scope="module")
def served(world: World) -> World:
    world.run(world.values("a", [A]))
    world.serving["a-shop"] = world.vms
    return world


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({**route("b-store"), "host": A["host"]}, [A["host"], "route a-shop of list a"]),
        ({**route("a-shop"), "host": "b.lists.example.com", "upstream_tls": {}}, ["a-shop", "list a"]),
        ({**route("b-store"), "listen": {"tls": False, "port": 443}}, ["443", "list a"]),
        ({**route("b-store"), "upstream_tls": {"mode": "simple", "server_name": A["host"]}}, [A["host"], "list a"]),
        ({**route("b-store"), "upstream_tls": {**A["upstream_tls"]}}, ["a-client", "list a"]),
        ({**route("b-store"), "upstream_tls": {"mode": "simple", "credential": "edge-a-shop"}}, ["edge-a-shop", "list a"]),
        ({**route("b-store", on=ONE), "host": A["host"]}, [A["host"], "route a-shop of list a"]),
    ],
    ids=["host", "route", "listener", "sni", "client certificate", "credential", "on one of the VMs"],
)
def test_what_another_list_has_is_refused_before_anything_changes(served: World, other: dict[str, Any], said: list[str]) -> None:
    before = served.state()
    printed = served.run(served.values("b", [other]), good=False)
    missing = [words for words in said if words not in printed]
    assert not missing, printed[-4000:]
    assert served.state() == before
    served.everything_answers()


def test_of_two_runs_for_one_host_at_the_same_moment_one_wins(served: World) -> None:
    before = served.state()
    contenders = {name: {**route(f"{name}-x"), "host": "same.lists.example.com"} for name in ("c", "d")}
    runs = {name: served.start(served.values(name, [wanted])) for name, wanted in contenders.items()}
    printed = {name: process.communicate(timeout=600)[0] for name, process in runs.items()}
    won = [name for name, process in runs.items() if process.returncode == 0]
    assert len(won) == 1, {name: text[-2500:] for name, text in printed.items()}
    (lost,) = contenders.keys() - set(won)
    assert f"list {won[0]}" in printed[lost], printed[lost][-4000:]
    assert served.ask(served.vms[0], "same.lists.example.com") == "418"
    unchanged(before, served.state(), ["a"])
    served.everything_answers()
    for name in contenders:
        served.run(served.values(name, []), "teardown.yml")
    assert served.state().keys() == before.keys()


def test_two_runs_at_the_same_moment_both_end_well(served: World) -> None:
    before = served.state()
    wanted = {name: route(f"{name}-y") for name in ("c", "d")}
    runs = {name: served.start(served.values(name, [each])) for name, each in wanted.items()}
    for name, process in runs.items():
        printed, _nothing = process.communicate(timeout=600)
        assert process.returncode == 0, f"{name}: {printed[-4000:]}"
    served.serving.update({f"{name}-y": served.vms for name in wanted})
    served.everything_answers()
    unchanged(before, served.state(), ["a"])
