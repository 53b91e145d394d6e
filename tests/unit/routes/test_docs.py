# SPDX-License-Identifier: GPL-3.0-or-later
"""docs/routes.md says what the code does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from plugins.module_utils._errors import EdgeError
from plugins.module_utils._routes import misspelt, reading, survey
from plugins.module_utils._routes.reading import Reading

PAGE = (Path(__file__).parents[3] / "docs" / "routes.md").read_text()
SHOP = {
    "name": "shop",
    "host": "shop.example.com",
    "listen": {"tls": False},
    "paths": [{"service": {"namespace": "a", "name": "b", "port": 1}}],
}


def rows() -> Iterator[str]:
    """Flat variables, and what they stand for."""
    for title, table, before in (
        ("edge_routes", survey.ROUTE, ""),
        ("edge_routes", survey.PATH, "paths[0]."),
        ("edge_gateways", survey.GATEWAY, ""),
    ):
        yield from (f"| `{name}` | `{title}` | `{before}{'.'.join(keys)}` |" for name, keys in table.items())


def test_the_table_of_flat_variables_is_the_surveys() -> None:
    assert "\n".join(["| Variable | Entry of | Key |", "|---|---|---|", *rows()]) in PAGE


def test_every_variable_of_a_list_is_described() -> None:
    assert [name for name in reading.LISTS if f"\n| `{name}` |" not in PAGE] == []


def test_the_refusals_are_those_shown() -> None:
    with pytest.raises(EdgeError) as variable:
        misspelt.check(["edge_sevice"])
    with pytest.raises(EdgeError) as key:
        Reading.of_variables({"edge_routes": [{**SHOP, "upstream_tls": {"client_certficate": "x"}}]})
    assert f"{variable.value.sentence}\n{key.value.sentence}\n" in PAGE
