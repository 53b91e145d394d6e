# SPDX-License-Identifier: GPL-3.0-or-later
"""Every role says what it takes: argument specs, defaults and README agree."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

ROLES = sorted(path for path in Path("roles").iterdir() if path.is_dir())


def load(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text()) or {} if path.exists() else {}


def options(role: Path) -> dict[str, Any]:
    """Of all entry points."""
    specs: dict[str, Any] = load(role / "meta" / "argument_specs.yml")["argument_specs"]
    return {name: option for entry in specs.values() for name, option in (entry.get("options") or {}).items()}


def templated(value: Any) -> bool:
    """Whether a default follows from other variables; then its description says how, and the spec can't."""
    return "{{" in str(value)


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_defaults_are_those_of_the_specs(role: Path) -> None:
    defaults, spec = load(role / "defaults" / "main.yml"), options(role)
    assert set(defaults) <= set(spec), "defaults without a spec"
    said = {name: option["default"] for name, option in spec.items() if "default" in option}
    assert said == {name: value for name, value in defaults.items() if not templated(value)}


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_options_are_described(role: Path) -> None:
    for name, option in options(role).items():
        assert name.startswith(f"{role.name}_"), f"{name} is not named after its role"
        assert {"description", "type"} <= set(option), name


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_readme_is_of_this_role(role: Path) -> None:
    assert (role / "README.md").read_text().startswith(f"# {role.name}\n")
