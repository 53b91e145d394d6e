# SPDX-License-Identifier: GPL-3.0-or-later
"""Two lists at one gateway, each denying another client: neither run, nor the end of one list, changes what the other denies."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

from tests.integration.access.conftest import World
from tests.integration.access.fronts import DECLARED, NODE_PORT
from tests.integration.access.gateways import until
from tests.integration.access.test_access_role import changes, versions
from tests.integration.access.test_access_routes import with_route
from tests.integration.playbooks import kubectl, play

pytestmark = [pytest.mark.lab, pytest.mark.mesh]
GATEWAY = NODE_PORT.gateway
LABELS = ("edgemesh.nginx-istio/list", "edgemesh.nginx-istio/gateway")
EVERYBODY = {"allowed": "in", "denied": "in", "stranger": "in"}


@pytest.fixture
def alone(world: World) -> Iterator[None]:
    """Nobody's policies before, and after."""
    world.apply({}, (GATEWAY,))
    yield
    world.play({**world.values({}), "gateway_access_control_state": "absent", "gateway_access_control_all_lists": True})
    world.last.clear()


def route_of(world: World, name: str) -> dict[str, Any]:
    """A list with one route, which denies one client."""
    made = with_route(world, GATEWAY, DECLARED[GATEWAY], {"deny": world.both("denied")})
    return {**made, "edge_list": name, "edge_exclusive": False}


def gateway_of(world: World, name: str, **front: Any) -> dict[str, Any]:
    """A list without routes, which denies another client the whole gateway."""
    made = world.values({"deny": world.both("stranger")}, (GATEWAY,), **({GATEWAY: front} if front else {}))
    return {**made, "edge_list": name, "edge_exclusive": False}


def verdicts(world: World, **wanted: str) -> bool:
    """Whether each client soon gets the verdict."""
    return bool(until(lambda: world.verdicts(list(wanted), NODE_PORT, False) == wanted))


def said(values: dict[str, Any]) -> str:
    """What a play says that is refused, in one line."""
    done = play("access_control.yml", values)
    assert done.returncode != 0, done.stdout[-3000:]
    return re.sub(r"[\s\\]+", " ", done.stdout + done.stderr)


def policies(world: World) -> dict[str, Any]:
    return {each["metadata"]["name"]: each["metadata"] for each in world.gateways.get("authorizationpolicies.security.istio.io")["items"]}


@contextmanager
def asking(world: World, client: str) -> Iterator[set[str]]:
    """All verdicts that a client gets meanwhile."""
    found: set[str] = set()
    going = True

    def ask() -> None:
        while going:
            found.add(world.client(client).ask(world.rig.at(NODE_PORT)).verdict)
            time.sleep(0.05)

    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(ask)
        try:
            yield found
        finally:
            going = False
            asked.result(30)


@pytest.mark.usefixtures("alone")
def test_the_end_of_one_list_leaves_the_other_denying(world: World) -> None:
    world.play(route_of(world, "a"))
    mine = policies(world)
    world.play(gateway_of(world, "b"))
    assert verdicts(world, allowed="in", denied="denied", stranger="denied")
    assert changes(world.play(route_of(world, "a"))) == {"0"}
    assert changes(world.play(gateway_of(world, "b"))) == {"0"}

    before = versions(world)
    assert re.search("access of all of Service .* belongs to list b", said(gateway_of(world, "c")))
    assert re.search(r"the front of Service .*kind: node_port.* belongs to", said(gateway_of(world, "c", kind="none")))
    assert re.search("edge-access-deny belongs to route access of list a", said(route_of(world, "c")))
    assert versions(world) == before

    local = {name: version for name, version in before.items() if name == f"Service {GATEWAY}"}
    with asking(world, "denied") as found:
        output = world.play({**gateway_of(world, "b"), "gateway_access_control_state": "absent"})
        assert verdicts(world, allowed="in", denied="denied", stranger="in")
    assert found == {"denied"}
    assert "keeps its settings: route access of list a needs them" in re.sub(r"\s+", " ", output)
    assert {name: metadata["resourceVersion"] for name, metadata in policies(world).items()} == {
        name: metadata["resourceVersion"] for name, metadata in mine.items()
    }
    assert local.items() <= versions(world).items()
    world.play({**route_of(world, "a"), "gateway_access_control_state": "absent"})
    assert verdicts(world, **EVERYBODY)
    assert world.gateways.state()[f"Service {GATEWAY}"] == world.before[f"Service {GATEWAY}"]


@pytest.mark.usefixtures("alone")
def test_policies_of_the_version_before_are_taken_over_without_a_gap(world: World) -> None:
    mine, own = route_of(world, "default"), gateway_of(world, "default")["edge_gateways"][GATEWAY]["access"]
    mine["edge_gateways"][GATEWAY]["access"] = own
    world.play(mine)
    for name in policies(world):
        kind = ("authorizationpolicy", name, "--namespace", world.gateways.namespace)
        kubectl("label", *kind, *(f"{label}-" for label in LABELS))
        kubectl("annotate", *kind, "edgemesh.nginx-istio/front-")
    assert verdicts(world, allowed="in", denied="denied", stranger="denied")
    earlier = policies(world)
    with asking(world, "denied") as route, asking(world, "stranger") as gateway:
        world.play({**world.values({}, (GATEWAY,)), "edge_list": "b"})
        assert policies(world) == earlier, "another list leaves them"
        world.play(mine)
    assert (route, gateway) == ({"denied"}, {"denied"})
    for name, metadata in policies(world).items():
        assert metadata["uid"] == earlier[name]["uid"]
        assert metadata["labels"]["edgemesh.nginx-istio/list"] == "default"
        assert json.loads(metadata["annotations"]["edgemesh.nginx-istio/front"])["kind"] == "node_port"
    assert changes(world.play(mine)) == {"0"}
