"""docs/proof.md and the code say the same."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from plugins.module_utils._proof.causes import CAUSES, OWN
from plugins.module_utils._proof.checks import CHECKS, NEGATIVE, Check

TEXT = (Path(__file__).parents[3] / "docs" / "proof.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("check", CHECKS.values(), ids=lambda check: check.name)
def test_every_check_is_explained_as_it_is(check: Check) -> None:
    sign, control = ("-" if check.polarity == NEGATIVE else "+"), f"`{check.control}`" if check.control else ""
    cells = [f'<a id="{check.name}"></a>`{check.name}`', sign, check.title, check.proves, control, "yes" if check.required else ""]
    assert f"| {' | '.join(cells)} |" in TEXT


@pytest.mark.parametrize("code", OWN)
def test_every_cause_has_an_anchor(code: str) -> None:
    assert f'<a id="{code.lower()}"></a>`{code}` | {CAUSES[code].why} |' in TEXT


def test_nothing_else_has_an_anchor() -> None:
    assert set(re.findall(r'<a id="([^"]+)"', TEXT)) == {*CHECKS, *(code.lower() for code in OWN)}


def test_controls_are_checks() -> None:
    assert {check.control for check in CHECKS.values()} - {""} <= CHECKS.keys()
