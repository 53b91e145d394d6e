# SPDX-License-Identifier: GPL-3.0-or-later
"""Every default of every role may come as a text, as surveys and -e name=value hand it over: the argument specs let it through."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

ROLES = sorted((Path(__file__).parents[2] / "roles").iterdir())
_KNOWN = ("type", "elements", "choices", "default", "required")


def argument(option: dict[str, Any]) -> dict[str, Any]:
    """Without what is there for people."""
    made = {name: value for name, value in option.items() if name in _KNOWN}
    nested = {name: argument(value) for name, value in option.get("options", {}).items()}
    return {**made, **({"options": nested} if nested else {})}


@pytest.mark.parametrize("role", ROLES, ids=lambda role: str(role.name))
def test_defaults_as_texts(role: Path) -> None:
    defaults = yaml.safe_load((role / "defaults" / "main.yml").read_text())
    texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in defaults.items() if "{{" not in str(value)}
    assert texts
    for entry in yaml.safe_load((role / "meta" / "argument_specs.yml").read_text())["argument_specs"].values():
        spec = {name: argument({**option, "required": False}) for name, option in entry["options"].items()}
        assert ArgumentSpecValidator(spec).validate({name: text for name, text in texts.items() if name in spec}).error_messages == []
