# SPDX-License-Identifier: GPL-3.0-or-later
"""What a job tells the next one."""

from __future__ import annotations

import json
from typing import Any

from plugins.filter.runs import route_stats
from plugins.module_utils._routes.reading import Reading

ROUTE: dict[str, Any] = {
    "name": "shop",
    "host": "shop.example.com",
    "listen": {"certificate": "shop-public"},
    "paths": [{"service": {"namespace": "shop", "name": "web", "port": 8000}}],
}


def secret(name: str, sha256: str, **more: Any) -> dict[str, Any]:
    certificate = {"sha256": sha256, "not_after": "2027-01-01T00:00:00Z", "subject": "CN=x"}
    return {"namespace": "edgemesh", "name": name, "changed": True, "certificate": certificate, **more}


def test_it_names_the_list_its_routes_and_each_certificate_once() -> None:
    read = Reading.of_variables({"edge_list": "team-a", "edge_routes": [ROUTE]}).text()
    made = route_stats(
        read, {"main": ["192.0.2.1:443"]}, [secret("a", "aa"), secret("b", "aa"), secret("c", "cc"), secret("d", "", certificate=None)]
    )
    assert made == {
        "list": "team-a",
        "upstreams": {"main": ["192.0.2.1:443"]},
        "routes": [
            {
                "name": "shop",
                "list": "team-a",
                "hosts": ["shop.example.com"],
                "mode": "simple",
                "gateway": "main",
                "server_name": "shop.example.com",
            }
        ],
        "certificates": [
            {"secret": "edgemesh/a", "sha256": "aa", "not_after": "2027-01-01T00:00:00Z"},
            {"secret": "edgemesh/c", "sha256": "cc", "not_after": "2027-01-01T00:00:00Z"},
        ],
    }
    assert json.loads(json.dumps(made)) == made


def test_without_routes_it_says_so() -> None:
    assert route_stats(Reading.of_variables({}).text(), {}, []) == {"list": "default", "upstreams": {}, "routes": [], "certificates": []}
