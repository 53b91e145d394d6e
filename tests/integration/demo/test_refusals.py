# SPDX-License-Identifier: GPL-3.0-or-later
"""Broken input is refused in words, and nothing has changed: not nginx's files, not an object in the cluster. The demo survives all."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.integration.playbooks import LAB, ROUTE, play, tree, variables, versions

pytestmark = [pytest.mark.lab, pytest.mark.vms, pytest.mark.usefixtures("demo")]
VM = "vm-deb13"
NAMESPACES = ("edgemesh", "istio-system", "shop")


def broken(path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    """The good route with one value changed."""
    route = copy.deepcopy(ROUTE)
    target: Any = route
    for step in path[:-1]:
        target = target[step]
    target[path[-1]] = value
    return route


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "host name with a semicolon": (
        {"edge_routes": [broken(("host",), "shop.example.com; return 200")]},
        "edge_routes[0] (shop).host: 'shop.example.com; return 200' is not a host name",
    ),
    "listener's port": (
        {"edge_routes": [broken(("listen",), {"certificate": "shop-public", "port": 70000})]},
        "edge_routes[0] (shop).listen.port: 70000 is not a port. Write a number from 1 to 65535",
    ),
    "Service's port": (
        {"edge_routes": [broken(("paths", 0, "service", "port"), 70000)]},
        "edge_routes[0] (shop).paths[0].service.port: 70000 is not a port",
    ),
    "misspelt key": (
        {"edge_routes": [{**ROUTE, "upstream_tsl": {}}]},
        "edge_routes[0] (shop).upstream_tsl: is not a known key. Did you mean upstream_tls?",
    ),
    "missing Secret": (
        {"edge_routes": [broken(("listen", "certificate"), "nobody-made-this")], "edge_issue": ["gateway", "client"]},
        "Secret edgemesh/nobody-made-this: the Secret does not exist",
    ),
    "missing CA": (
        {"edge_routes": [broken(("upstream_tls", "client_ca"), "corp/ca")]},
        "Secret corp/ca: the Secret does not exist",
    ),
    "Service without that port": (
        {"edge_routes": [broken(("paths", 0, "service", "port"), 8001)]},
        "Service shop/web: it has no port 8001: its ports are http (8000/TCP)",
    ),
    "no such Service": (
        {"edge_routes": [broken(("paths", 0, "service", "name"), "wep")]},
        "Service shop/wep: it does not exist",
    ),
    "gateway without that port": (
        {"edge_gateways": {"main": {"port": "tls"}}},
        "Service istio-system/istio-ingressgateway: it has no port tls",
    ),
    "no such gateway": (
        {"edge_gateways": {"main": {"service": "istio-egressgateway"}}, "gateway_routes_timeout": 3},
        "Service istio-system/istio-egressgateway",
    ),
    "no such Istio Gateway": (
        {"edge_gateways": {"main": {"istio_gateway": "istio-system/nobody-made-this"}}},
        "there is no Istio Gateway istio-system/nobody-made-this",
    ),
    "a Secret unfit for its use": (
        {"edge_routes": [broken(("listen", "certificate"), "edge-ca")], "edge_issue": ["gateway", "client"]},
        "Secret edgemesh/edge-ca: the material is not fit for its use (tls)",
    ),
}


def state() -> tuple[str, dict[str, str]]:
    return tree(VM), versions(*NAMESPACES)


def refused(values: dict[str, Any], sentence: str) -> None:
    before = state()
    assert before[0]
    assert before[1]
    done = play("vm_offload.yml", {**variables(ROUTE, vms=VM), **values})
    output = " ".join((done.stdout + done.stderr).split())
    assert done.returncode != 0, "it was not refused"
    assert sentence in output.replace('\\"', '"')
    assert "changed=0" in output
    assert "Traceback" not in output
    assert state() == before


# One of each kind in every run, the variations in the long form.
ALWAYS = ("host name with a semicolon", "listener's port", "misspelt key", "missing Secret", "Service without that port")


@pytest.mark.parametrize("case", [pytest.param(case, marks=[pytest.mark.soak] * (case not in ALWAYS)) for case in REFUSED])
def test_refused(case: str) -> None:
    refused(*REFUSED[case])


def test_unreachable_cluster(tmp_path: Path) -> None:
    config = yaml.safe_load((LAB / "kubeconfig").read_text())
    for cluster in config["clusters"]:
        cluster["cluster"]["server"] = "https://127.0.0.1:9"
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(config))
    refused({"edge_kubeconfig": str(tmp_path / "kubeconfig"), "gateway_routes_timeout": 5}, "127.0.0.1:9")
