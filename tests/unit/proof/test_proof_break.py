# SPDX-License-Identifier: GPL-3.0-or-later
"""Breaking one setting of one VM's nginx turns exactly the predicted lines red; docs/proof.md has the same table."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.unit.proof.materials import pem, pki
from tests.unit.proof.nodes import GATEWAY, Settings
from tests.unit.proof.world import CLIENTS, World

DOCS = (Path(__file__).parents[3] / "docs" / "proof.md").read_text(encoding="utf-8")
VM, OTHER = "vm-deb12", "vm-deb13"
FOREIGN = "/tmp/foreign.crt"

# the change as docs/proof.md words it, the route, how to make it, the checks that turn red, the causes
BREAKS: list[tuple[str, str, Callable[[Settings], Any], set[str], set[str]]] = [
    ("`proxy_ssl_server_name off`", "shop", lambda nginx: setattr(nginx, "sends_sni", False), {"nginx.sni", "path.answer"}, {"NO_SNI"}),
    (
        "`proxy_ssl_name` of nobody",
        "shop",
        lambda nginx: setattr(nginx, "server_name", "nobody.example.com"),
        {"nginx.sni", "nginx.ca", "path.answer"},
        {"WRONG_SNI", "UPSTREAM_NAME_MISMATCH"},
    ),
    (
        "`proxy_ssl_trusted_certificate` of another CA",
        "shop",
        lambda nginx: setattr(nginx, "ca_file", FOREIGN),
        {"nginx.ca", "path.answer"},
        {"WRONG_TRUST_ANCHOR"},
    ),
    ("`proxy_ssl_verify off`", "shop", lambda nginx: setattr(nginx, "verify", False), {"nginx.ca"}, {"UPSTREAM_NOT_VERIFIED"}),
    (
        "no `proxy_ssl_certificate` (mode mutual)",
        "pay",
        lambda nginx: setattr(nginx, "cert_file", ""),
        {"nginx.client_certificate", "path.answer"},
        {"CLIENT_CERT_MISSING"},
    ),
    (
        "`proxy_ssl_certificate` of another CA (mode mutual)",
        "pay",
        lambda nginx: setattr(nginx, "cert_file", FOREIGN),
        {"nginx.client_certificate", "path.answer"},
        {"CLIENT_CERT_UNTRUSTED"},
    ),
    (
        "`proxy_http_version 1.0`",
        "shop",
        lambda nginx: setattr(nginx, "http_version", "1.0"),
        {"nginx.http_version", "path.answer"},
        {"HTTP10_UPSTREAM"},
    ),
    (
        "`proxy_set_header Host` of nobody",
        "pay",
        lambda nginx: setattr(nginx, "host", "nobody.example.com"),
        {"nginx.host", "path.answer"},
        {"HOST_NOT_ROUTED"},
    ),
    (
        "`X-Forwarded-For $http_x_forwarded_for`",
        "shop",
        lambda nginx: setattr(nginx, "forwarded_for", "$http_x_forwarded_for"),
        {"path.client_address", "path.forged_address", "path.access_log"},
        {"CLIENT_ADDRESS_LOST", "FORGED_HEADER_PASSED", "ACCESS_LOG_DISAGREES"},
    ),
]


@pytest.mark.parametrize(("change", "route", "make", "red", "causes"), BREAKS, ids=[entry[0] for entry in BREAKS])
def test_exactly_the_predicted_lines_turn_red(
    change: str, route: str, make: Callable[[Settings], Any], red: set[str], causes: set[str]
) -> None:
    world = World()
    world.files[VM, FOREIGN] = pem(pki()["foreign"])
    make(world.nginx[VM, route])
    model = world.run()

    expected = {
        f"{route}/{check}/{place}"
        for check in red
        for place in ([f"{client}>{VM}" for client in CLIENTS] if check.startswith("path.") else [f"{VM}>{GATEWAY}"])
    }
    assert {line["id"] for line in model["proofs"] if line["status"] == "failed"} == expected
    assert {failure["code"] for failure in model["failures"]} == causes
    assert not model["ok"]
    assert [entry["name"] for entry in model["routes"] if not entry["ok"]] == [route]
    # what is not tested hangs on what is red; everything else holds. By turns, other routes meet the broken one too
    for line in model["proofs"]:
        if line["status"] == "not_tested" and line["check"] not in ("path.own_identity", "path.lent_identity"):
            assert (line["route"], line["through"]) == (route, VM)
            assert line["cause"]["root"] in expected


@pytest.mark.parametrize(("change", "red", "causes"), [(entry[0], *entry[3:]) for entry in BREAKS], ids=[entry[0] for entry in BREAKS])
def test_the_documented_table_predicts_the_same(change: str, red: set[str], causes: set[str]) -> None:
    row = next(line for line in DOCS.splitlines() if line.startswith(f"| {change} |"))
    columns = [{name.strip(" `") for name in cell.split(",")} for cell in row.split("|")[2:4]]
    assert columns == [red, causes]


def test_an_nginx_that_runs_with_something_else_than_its_files_is_named() -> None:
    world = World()
    configured = dict(world.machine(VM).nginx)
    world.nginx[VM, "shop"].sends_sni = False  # the running nginx; its files still say otherwise
    world.configured = {VM: configured}
    model = world.run()
    assert {line["check"] for line in model["proofs"] if line["status"] == "failed"} == {"path.answer"}
    assert {failure["code"] for failure in model["failures"]} == {"NGINX_UNLIKE_REPLAY"}


def test_an_address_that_went_stale_is_probed_because_nginx_still_uses_it() -> None:
    world = World()
    read = world.machine(VM).nginx
    world.configured = {VM: {**read, "shop": dataclasses.replace(read["shop"], addresses=(GATEWAY, "198.18.0.9:30999"))}}
    model = world.run()
    failed = [line["id"] for line in model["proofs"] if line["status"] == "failed"]
    assert failed == [f"shop/gateway.tls/{VM}>198.18.0.9:30999"]
    assert {failure["code"] for failure in model["failures"]} == {"CONNECTION_REFUSED"}
