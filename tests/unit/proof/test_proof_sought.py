# SPDX-License-Identifier: GPL-3.0-or-later
"""What role verify asks the cluster before it plans."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError

from plugins.filter.runs import verify_look
from plugins.module_utils._routes.reading import Reading
from tests.unit.proof.materials import PAY, SHOP, STORE, read, read_none

APP = {"namespace": "shop", "name": "web", "port": 8080}


def test_each_gateway_and_each_service_is_asked_for_once() -> None:
    assert verify_look(read(SHOP, PAY, STORE)) == {
        "gateways": [{"namespace": "istio-system", "name": "istio-ingressgateway", "ports": ["https"]}],
        "apps": [APP, {"namespace": "store", "name": "web", "port": 8080}],
    }


@pytest.mark.parametrize("given", [{"main": ["192.0.2.1:443"]}, '{"main": ["192.0.2.1:443"]}'])
def test_no_gateway_is_looked_for_where_addresses_are_given(given: Any) -> None:
    assert verify_look(read(SHOP), given) == {"gateways": [], "apps": [APP]}


@pytest.mark.parametrize("given", [None, "", {}, "{}"])
def test_nothing_given_is_no_addresses(given: Any) -> None:
    assert verify_look(read(SHOP), given)["gateways"]


def test_a_gateway_with_addresses_of_its_own_is_not_looked_for() -> None:
    gateways = [{"name": "main", "address": "addresses", "addresses": ["192.0.2.1:443"]}]
    assert verify_look(Reading.of_variables({"edge_routes": [SHOP], "edge_gateways": gateways}).text())["gateways"] == []


def test_where_there_are_no_routes_nothing_is_asked() -> None:
    assert verify_look(read_none()) == {"gateways": [], "apps": []}


def test_what_is_neither_is_refused() -> None:
    with pytest.raises(AnsibleFilterError, match="verify_upstreams"):
        verify_look(read(SHOP), "192.0.2.1:443")
    with pytest.raises(AnsibleFilterError, match="Pass edge__read unchanged"):
        verify_look("{}")
