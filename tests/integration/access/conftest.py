# SPDX-License-Identifier: GPL-3.0-or-later
"""Gateways of their own behind every front, clients with addresses of their own, and the role that says who may come in."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from lab.settings import Host
from plugins.module_utils._address import join
from tests.integration.access.fronts import DECLARED, FRONTS, Front, Rig, fronts
from tests.integration.access.gateways import Gateways, gateways, until
from tests.integration.access.wire import Client
from tests.integration.nginx.nginx_local import Nginx
from tests.integration.playbooks import play
from tests.spare_vms import spare_namespace


@dataclass(frozen=True)
class World:
    """What the tests share; each says first who may come in.

    :param before: the gateways as Helm left them.
    :param last: what the last play was told, while nobody else has changed anything.
    """

    gateways: Gateways
    rig: Rig
    hosts: dict[str, Host]
    before: dict[str, Any]
    last: dict[str, Any] = field(default_factory=dict)

    def client(self, name: str, ipv6: bool = False) -> Client:
        return Client(self.hosts[name], ipv6)

    def both(self, *names: str) -> list[str]:
        """The clients' addresses of both families."""
        return [address for name in names for address in (self.hosts[name].address, self.hosts[name].address6)]

    @property
    def both_lists(self) -> dict[str, Any]:
        """One client in each of them, one in both."""
        return {"allow": self.both("allowed", "both"), "deny": self.both("denied", "both")}

    def declared(self, name: str) -> dict[str, Any]:
        """``front`` of a gateway's entry; where a proxy stands before it, nobody but that proxy is to connect."""
        proxies = [self.rig.host.address, self.rig.host.address6] if DECLARED[name]["kind"].endswith("_proxy") else []
        return {**DECLARED[name], **({"proxies": proxies} if proxies else {})}

    def values(self, access: dict[str, Any], names: tuple[str, ...] = (), **fronts: dict[str, Any]) -> dict[str, Any]:
        """What a user writes: for these gateways (all, if none is named) the same access, each behind its front."""
        access = {**access, "allow_lockout": True} if access else {}  # the lists are about clients; this machine is in none
        chosen = {name: entry for name, entry in self.gateways.entries.items() if name in (names or self.gateways.names)}
        entries = {name: [join(*self.rig.at(front)) for front in FRONTS if front.gateway == name] for name in chosen}
        declared = {name: {**entry, "front": fronts.get(name, self.declared(name)), "access": access} for name, entry in chosen.items()}
        return {
            "edge_gateways": declared,
            "edge_routes": [],
            "edge_exclusive": True,
            "gateway_access_control_entries": entries,
            # where the PROXY protocol begins and ends, as the fronts do that stand there all along
            "gateway_access_control_allow_interruption": True,
        }

    def ensure(self, access: dict[str, Any]) -> None:
        """The same for all gateways, unless it is so."""
        if self.last != self.values(access):
            self.apply(access)

    def apply(self, access: dict[str, Any], names: tuple[str, ...] = (), **fronts: dict[str, Any]) -> str:
        """The role's play; returns what it said."""
        return self.play(self.values(access, names, **fronts))

    def remove(self) -> str:
        """The play that takes it all back."""
        return self.play({**self.values({}), "gateway_access_control_state": "absent"})

    def play(self, values: dict[str, Any], *words: str) -> str:
        self.last.clear()
        done = play("access_control.yml", values, *words)
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]
        if not words:
            self.last.update(values)
        return done.stdout

    def verdicts(self, names: list[str], through: Front, ipv6: bool) -> dict[str, str]:
        return {name: self.client(name, ipv6).ask(self.rig.at(through, ipv6)).verdict for name in names}

    def expect(self, wanted: dict[str, str], ipv6: bool) -> None:
        """Every front gives every client this verdict, and the gateways count each denial once."""
        for front in FRONTS:
            # istiod tells the gateways of policies when it likes
            assert until(lambda front=front: self.verdicts(list(wanted), front, ipv6) == wanted), (
                f"{front.name}, IPv{6 if ipv6 else 4}: {self.verdicts(list(wanted), front, ipv6)} instead of {wanted}"
            )
            before = self.gateways.denied(front.gateway)
            seen = [self.verdicts(list(wanted), front, ipv6) for _ in range(3)]
            assert seen == [wanted] * 3, f"{front.name}, IPv{6 if ipv6 else 4}"
            denied = sum(list(each.values()).count("denied") for each in seen)
            assert self.gateways.denied(front.gateway) - before == denied, f"{front.name}, IPv{6 if ipv6 else 4}"


@pytest.fixture(scope="session")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for example.com and its key."""
    return Nginx(tmp_path_factory.mktemp("pair")).pair


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory, pair: tuple[Path, Path]) -> Iterator[World]:
    """Four gateways, one for each topology; nobody has said yet what stands before them."""
    folder = tmp_path_factory.mktemp("access")
    with ExitStack() as stack:
        made = stack.enter_context(gateways(f"edgemesh-test-access-{uuid.uuid4().hex[:6]}", folder, pair, tuple(DECLARED)))
        rig = stack.enter_context(fronts(made.node_ports, folder))
        hosts = {name: stack.enter_context(spare_namespace()) for name in ("allowed", "denied", "both", "stranger")}
        yield World(made, rig, hosts, made.state())
