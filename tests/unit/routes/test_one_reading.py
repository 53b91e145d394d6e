# SPDX-License-Identifier: GPL-3.0-or-later
"""All who read the list name the same Secrets, whatever the namespace, the CA and the form of the list."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jinja2
import pytest
import yaml

from plugins.module_utils._mesh.gateways import in_mesh
from plugins.module_utils._nginx.write.blocks import Settings
from plugins.module_utils._nginx.write.offload import offload
from plugins.module_utils._proof.vm_nginx.material import public_files
from plugins.module_utils._routes.needs import needs
from plugins.module_utils._routes.reading import LEAVES, Reading
from plugins.module_utils._secrets.entries import Reference
from plugins.module_utils._secrets.needs import plan

ROLES = Path(__file__).parents[3] / "roles"
TLS = "/etc/edgemesh/tls"
LISTED = {
    "edge_routes": [
        {
            "name": "shop",
            "host": "shop.example.com",
            "listen": {"certificate": "shop-public"},
            "upstream_tls": {"mode": "mutual", "client_certificate": "edge-client", "client_names": ["edge.example.com"]},
            "paths": [{"service": {"namespace": "shop", "name": "web", "port": 8000}}],
        }
    ],
    "edge_gateways": {"main": {"selector": {"istio": "gw"}, "port": "443", "addresses": "192.0.2.1:443"}},
}
FLAT = {
    "edge_host": "shop.example.com",
    "edge_mode": "mutual",
    "edge_client_certificate": "edge-client",
    "edge_client_names": "edge.example.com",
    "edge_service": "web",
    "edge_service_namespace": "shop",
    "edge_service_port": "8000",
    "edge_gateway_port": "443",
    "edge_gateway_addresses": "192.0.2.1:443",
}


@pytest.fixture(params=[LISTED, FLAT], ids=["listed", "flat"])
def reading(request: pytest.FixtureRequest) -> Reading:
    """As a task gets it: carried as text."""
    given = {**request.param, "edge_namespace": "pki", "edge_ca": "corp-ca", "edge_issue": ",".join(LEAVES)}
    return Reading.of(Reading.of_variables(given).text())


def trust(reading: Reading) -> dict[str, Any]:
    return plan(needs(reading), Reference(reading.namespace, reading.ca), reading.run)


def names(entries: list[dict[str, Any]]) -> set[str]:
    return {f"{each['namespace']}/{each['name']}" for each in entries}


def exports(reading: Reading) -> set[str]:
    """Secrets that come to the VM."""
    return names([each["secret"] for each in offload(reading.routes, {}, Settings()).exports])


def objects(reading: Reading) -> list[dict[str, Any]]:
    """What role gateway_routes applies."""
    environment = jinja2.Environment(autoescape=False, loader=jinja2.FileSystemLoader(ROLES / "gateway_routes" / "templates"))
    environment.filters.update(
        to_json=json.dumps, unique=lambda values: list(dict.fromkeys(values)), combine=lambda one, other: {**one, **other}
    )
    service = {
        "namespace": "istio-system",
        "name": "istio-ingressgateway",
        "found": True,
        "selector": {"istio": "gw"},
        "nodes": [{"has_endpoint": True}],
    }
    routes = [each.as_dict() for each in in_mesh(reading.routes, [service], [])]
    more = {"gateway_routes__component": {}, "gateway_routes_cluster_domain": "cluster.local"}
    made: list[dict[str, Any]] = yaml.safe_load(environment.get_template("routes.yml.j2").render(gateway_routes__routes=routes, **more))
    return made


def test_what_is_issued_is_what_comes_to_the_vm_and_what_the_proof_reads(reading: Reading) -> None:
    issued = {name for name in names(trust(reading)["issued"]) if not name.startswith("istio-system/")}
    assert issued == {"pki/edge-client", "pki/shop-public"}
    assert exports(reading) == {*issued, "pki/corp-ca"}
    files = public_files(reading.routes[0], TLS)
    read = {"/".join(file.removeprefix(f"{TLS}/").split("/")[:2]) for file in files.values()}
    assert read == exports(reading)


def test_everything_is_signed_and_verified_by_the_one_ca(reading: Reading) -> None:
    made = trust(reading)
    assert made["required"] == []
    signers = [each["issue"]["ca"] for each in made["issued"]] + [each["from"]["secret"] for each in made["copies"]]
    assert signers == [{"namespace": "pki", "name": "corp-ca"}] * 4


def test_the_gateway_names_the_secrets_that_are_made_for_it(reading: Reading) -> None:
    made = trust(reading)
    there = {name for name in names([*made["issued"], *made["copies"]]) if name.startswith("istio-system/")}
    (gateway,) = [each for each in objects(reading) if each["kind"] == "Gateway"]
    shown = gateway["spec"]["servers"][0]["tls"]
    assert {f"istio-system/{shown[key]}" for key in ("credentialName", "caCertCredentialName")} == there
