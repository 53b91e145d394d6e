# SPDX-License-Identifier: GPL-3.0-or-later
"""The role as its users run it: again and again, as a check, and taken back."""

from __future__ import annotations

import os
import re

import pytest

from tests.integration.access.conftest import World
from tests.integration.access.gateways import WRITTEN

pytestmark = [pytest.mark.lab, pytest.mark.mesh]


def changes(output: str) -> set[str]:
    """How many tasks changed something, on each host of a play's recap."""
    return set(re.findall(r"changed=(\d+)", output))


def versions(world: World) -> dict[str, str]:
    """What changes with any write, or with a new pod; of Deployments and pods their controllers write the rest."""
    found = {}
    for item in [*world.gateways.get(WRITTEN)["items"], *world.gateways.get("pods")["items"]]:
        if "deletionTimestamp" in item["metadata"]:
            continue  # a pod that makes way for its successor
        field = {"Deployment": "generation", "Pod": "uid"}.get(item["kind"], "resourceVersion")
        found[f"{item['kind']} {item['metadata']['name']}"] = str(item["metadata"][field])
    return found


def test_again_and_again(world: World) -> None:
    world.ensure(world.both_lists)
    before = versions(world)
    for _run in (2, 3) if os.environ.get("EDGEMESH_SOAK") else (2,):
        assert changes(world.apply(world.both_lists)) == {"0"}
    assert versions(world) == before


@pytest.mark.soak
def test_a_check_changes_nothing_and_says_what_would(world: World) -> None:
    world.ensure(world.both_lists)
    before = versions(world)
    values = world.values({"allow": world.both("stranger")}, hop1={"kind": "http_proxy", "hops": 2})
    said = world.play(values, "--check", "--diff")
    assert changes(said) != {"0"}
    assert world.hosts["stranger"].address in said, "the diff says who would come in"
    assert versions(world) == before
    assert changes(world.play(world.values(world.both_lists), "--check")) == {"0"}


@pytest.mark.soak
def test_taken_back(world: World) -> None:
    """Nothing is left of it, and what was there before is as it was, whatever happened in between."""
    world.ensure(world.both_lists)
    assert world.gateways.state() != world.before
    world.remove()
    assert world.gateways.state() == world.before
    assert changes(world.remove()) == {"0"}
