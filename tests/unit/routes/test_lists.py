# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose a thing is, and what a run takes away."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins.module_utils import _lists as lists
from plugins.module_utils._errors import EdgeError
from plugins.module_utils._kube import labels
from plugins.module_utils._routes.reading import Reading

NAMES = st.sampled_from(["shop", "pay", "store", ""])
LISTS = st.sampled_from(["default", "team-b"])
SHOP: dict[str, Any] = {
    "name": "shop",
    "host": "shop.example.com",
    "listen": {"tls": False},
    "paths": [{"service": {"namespace": "a", "name": "b", "port": 1}}],
}


@given(LISTS, st.frozensets(NAMES), st.frozensets(NAMES), st.booleans(), st.builds(lists.Owner, LISTS, NAMES))
def test_what_another_list_has_is_never_taken(
    name: str, present: frozenset[str], absent: frozenset[str], exclusive: bool, owner: lists.Owner
) -> None:
    run = lists.Run(name, present, absent, exclusive)
    assert run.takes(owner) == (owner.list_name == name and (exclusive or owner.route in present | absent))


def test_a_teardown_takes_the_whole_list() -> None:
    run = lists.Run.teardown("team-b")
    assert run.takes(lists.Owner("team-b", "store"))
    assert run.takes(lists.Owner("team-b"))
    assert not run.takes(lists.Owner("default", "store"))


def test_what_another_list_owns_is_refused_by_name() -> None:
    with pytest.raises(EdgeError, match=r"host shop\.example\.com belongs to route shop of list team-b") as refused:
        lists.Run().refuse([lists.Owner("default", "x"), lists.Owner("team-b", "shop")], "host shop.example.com", "vm-1")
    assert refused.value.code == lists.OTHER_LIST
    lists.Run("team-b").refuse([lists.Owner("team-b", "shop")], "host shop.example.com", "vm-1")


def test_an_object_of_before_there_were_lists_is_the_default_lists() -> None:
    assert labels.owner({"metadata": {"labels": {labels.ROUTE_LABEL: "shop"}}}) == lists.Owner("default", "shop")
    assert labels.owner({"metadata": {"labels": {labels.LIST_LABEL: "b", labels.ROUTE_LABEL: "shop"}}}) == lists.Owner("b", "shop")
    assert labels.field_manager("default") == labels.FIELD_MANAGER != labels.field_manager("b")


@given(st.builds(lists.Owner, LISTS, NAMES))
def test_an_owner_comes_back_from_its_key(owner: lists.Owner) -> None:
    assert lists.Owner.of_key(owner.key) == owner


def test_a_route_that_goes_needs_its_name_only() -> None:
    found = Reading.of_variables(
        {"edge_routes": [SHOP, {"name": "pay", "state": "absent"}], "edge_list": "team-b", "edge_exclusive": "yes"}
    )
    assert [route.name for route in found.routes] == ["shop"]
    assert found.run == lists.Run("team-b", frozenset({"shop"}), frozenset({"pay"}), True)
    assert found.routes[0].labels[labels.LIST_LABEL] == "team-b"
    assert Reading.of(found.text()) == found


def test_present_is_what_a_route_is_anyway() -> None:
    said, unsaid = (Reading.of_variables({"edge_routes": [{**SHOP, **state}]}).routes for state in ({"state": "present"}, {}))
    assert said == unsaid


@pytest.mark.parametrize(
    ("routes", "message"),
    [
        ([SHOP, {"name": "shop", "state": "absent"}], r"edge_routes\[1\]\.name"),
        ([{"name": "x", "state": "gone"}], r"edge_routes\[0\] \(x\)\.state"),
        ([{"state": "absent"}], r"edge_routes\[0\]\.name"),
        ([{**SHOP, "list_name": "other"}], "edge_list"),
    ],
)
def test_states_and_lists_that_can_not_be(routes: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(EdgeError, match=message):
        Reading.of_variables({"edge_routes": routes})


@pytest.mark.parametrize("flat", [{"edge_name": "shop"}, {"edge_host": "shop.example.com"}])
def test_a_survey_takes_a_route_away(flat: dict[str, str]) -> None:
    found = Reading.of_variables({**flat, "edge_state": "absent"})
    assert (found.routes, found.absent) == ([], ["shop"])


def test_a_survey_that_takes_away_must_name_a_route() -> None:
    with pytest.raises(EdgeError, match="Set edge_name or edge_host"):
        Reading.of_variables({"edge_state": "absent"})
