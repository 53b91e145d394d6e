# SPDX-License-Identifier: GPL-3.0-or-later
"""Access of one route among a gateway's others, and what the role refuses, by itself or once it has asked through the front."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.integration.access.conftest import World
from tests.integration.access.fronts import DECLARED, NODE_PORT, TLS
from tests.integration.access.gateways import HOST, until
from tests.integration.access.test_access_role import changes, versions
from tests.integration.playbooks import play

pytestmark = [pytest.mark.lab, pytest.mark.mesh]
NOBODY = "203.0.113.0/24"
DENY = {"deny": [NOBODY]}
# The lab's VMs, and its clients.
PROBERS = ["198.18.0.8/29", "198.18.0.100/30"]


def route(gateway: str, access: dict[str, Any]) -> dict[str, Any]:
    """The route that the gateways serve anyway, in the role's words."""
    service = {"namespace": "lab-echo", "name": "echo", "port": 8000}
    return {"name": "access", "host": HOST, "gateway": gateway, "listen": {"tls": False}, "paths": [{"service": service}], "access": access}


def with_route(world: World, gateway: str, front: dict[str, Any], access: dict[str, Any]) -> dict[str, Any]:
    """Variables of one gateway that is asked over TLS, and its route."""
    values = world.values({}, (gateway,), **{gateway: front})
    values["edge_gateways"][gateway]["port"] = "https"
    return {**values, "edge_routes": [route(gateway, access)]}


def refused(world: World, gateway: str, front: dict[str, Any], access: dict[str, Any], said: str) -> None:
    """With this reason, and before anything changes."""
    values = with_route(world, gateway, {**DECLARED[gateway], **front} if "kind" not in front else front, access)
    if front.get("kind") == "node_port":
        values["gateway_access_control_entries"] = {gateway: [f"{world.rig.host.address}:{TLS}"]}
    before = versions(world)
    done = play("access_control.yml", values)
    assert done.returncode != 0, done.stdout[-3000:]
    # Ansible breaks lines, within YAML's double quotes with a backslash.
    assert re.search(said, re.sub(r"[\s\\]+", " ", done.stdout + done.stderr)), done.stdout[-3000:]
    assert versions(world) == before


def test_what_is_wrong_in_itself_is_refused(world: World) -> None:
    refused(world, "hop1", {}, {"allow": ["198.18.0.0/24", "198.18.0.5"]}, "overlap")


@pytest.mark.soak
@pytest.mark.parametrize(
    ("gateway", "front", "access", "said"),
    [
        pytest.param("hop1", {"kind": "http_proxy", "hops": 2}, DENY, "says 2 hops, but .* came by 1 HTTP proxy", id="too many hops"),
        pytest.param("hop2", {"kind": "http_proxy", "hops": 1}, DENY, "says 1 hop, but .* came by 2 HTTP proxies", id="too few hops"),
        pytest.param("hop1", {"kind": "node_port"}, DENY, "says 0 hops, but .* came by 1 HTTP proxy", id="a proxy that nobody told of"),
        pytest.param("hop1", {}, {"allow": [NOBODY]}, "would lock out VM vm-deb12", id="who probes"),
        pytest.param("hop1", {}, {"allow": PROBERS}, "would lock out this run's own client", id="the run itself"),
        pytest.param("hop1", {"health_checks": [NOBODY]}, {"allow": ["198.18.0.0/24"]}, f"would lock out the health checks from {NOBODY}",
                     id="health checks"),
        pytest.param("hop1", {}, {"allow": ["198.18.0.5/24"]}, "Write 198.18.0.0/24, or 198.18.0.5 for the one address", id="host bits"),
        pytest.param("hop1", {}, {"allow": ["198.18.0.0/24"], "match": "ip_blocks"}, "can't tell clients apart behind an HTTP proxy",
                     id="ip_blocks behind a proxy"),
        pytest.param("direct", {}, {"allow": ["198.18.0.0/24"], "match": "remote_ip_blocks"}, "needs a trusted hop",
                     id="remote_ip_blocks without one"),
    ],
)  # fmt: skip
def test_what_can_not_work_is_refused(world: World, gateway: str, front: dict[str, Any], access: dict[str, Any], said: str) -> None:
    refused(world, gateway, front, access, said)


@pytest.mark.soak
def test_a_route_is_known_by_every_name_that_it_answers_to(world: World) -> None:
    """Envoy finds a route by a name in any case and with any port; a policy that didn't would let in whoever writes it so."""
    gateway = NODE_PORT.gateway
    world.apply({})
    world.play(with_route(world, gateway, DECLARED[gateway], {"allow": world.both("allowed"), "allow_lockout": True}))
    at = world.rig.at(NODE_PORT)
    stranger, allowed = world.client("stranger"), world.client("allowed")
    names = [
        HOST,
        HOST.upper(),
        "Access.Example.com",
        f"{HOST}:80",
        f"{HOST}:8443",
        f"{HOST.upper()}:1",
        f"{HOST}.",
        f"{HOST}.:80",
        f"{HOST}:",
    ]
    assert until(lambda: stranger.ask(at).verdict == "denied")
    assert {allowed.ask(at, name=name).verdict for name in names[:4]} == {"in"}
    found = {name: stranger.ask(at, name=name).verdict for name in names}
    found |= {f"{url} of {name}": stranger.ask(at, name=name, path=url).verdict
              for name in ("other.example.com", HOST) for url in (f"http://{HOST}/", f"http://{HOST}:99/")}  # fmt: skip
    assert "in" not in found.values(), found
    world.apply({}, (gateway,))


def test_a_list_that_is_taken_out_again_is_gone_in_the_same_run(world: World) -> None:
    """Nobody is kept out any more, so the run looks for nothing but what is left over, and leaves the rest of the gateway as it is."""
    gateway = NODE_PORT.gateway
    at, stranger = world.rig.at(NODE_PORT), world.client("stranger")
    world.play(with_route(world, gateway, DECLARED[gateway], {"allow": world.both("allowed"), "allow_lockout": True}))
    assert until(lambda: stranger.ask(at).verdict == "denied")
    settings = {name: version for name, version in versions(world).items() if "AuthorizationPolicy" not in name}
    without = with_route(world, gateway, DECLARED[gateway], {})
    said = world.play(without)
    assert changes(said) == {"1"}
    assert until(lambda: stranger.ask(at).verdict == "in")
    assert versions(world) == settings
    assert changes(world.play(without)) == {"0"}
