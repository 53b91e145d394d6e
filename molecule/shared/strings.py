# SPDX-License-Identifier: GPL-3.0-or-later
"""Prints variables with every value as a text, as surveys and -e name=value hand them over: JSON text for lists and dictionaries.

    strings.py VARIABLES.json DEFAULTS.yml...

Those of the first file stand over the defaults; defaults that follow from other variables are left to do so.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import yaml


def text(value: Any) -> str:
    """A value as text."""
    return value if isinstance(value, str) else json.dumps(value)


def strings(given: dict[str, Any], defaults: list[dict[str, Any]]) -> dict[str, str]:
    """All of them as texts."""
    everything = {name: value for each in defaults for name, value in each.items() if "{{" not in str(value)}
    # What a playbook hands to a role stands below extra variables.
    handed = ("_upstreams", "_state", "_needs", "_only_with_lists")
    return {name: text(value) for name, value in {**everything, **given}.items() if not name.endswith(handed)}


if __name__ == "__main__":
    files = [yaml.safe_load(Path(name).read_text(encoding="utf-8")) or {} for name in sys.argv[1:]]
    print(json.dumps(strings(files[0], files[1:])))
