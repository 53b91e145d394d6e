# SPDX-License-Identifier: GPL-3.0-or-later
"""The map of CONTRIBUTING.md holds: who imports whom below plugins/, and what code for targets needs."""

from __future__ import annotations

import ast
import functools
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Optional

import pytest

CHECKOUT = Path(__file__).parents[2]
_OURS = "ansible_collections.edgemesh.nginx_istio.plugins."
# What Ansible starts on a target, with all that it imports.
_ON_TARGETS = ("modules/edge_probe.py", "modules/nginx_config.py", "modules/nginx_info.py", "modules/tls_secret_export.py")
# The one place that names the kinds of path.
_REGISTRY = "module_utils/_proof/kinds.py"
# Loaded only for a task that is given a kubeconfig, which none on a target is.
_NEVER_LOADED_THERE = {("module_utils/_kubeconfig.py", "yaml")}


def floors(checkout: Path) -> dict[str, int]:
    """The map: each room's floor."""
    rows = re.findall(r"^\| (\d+) \| `([^`]+)` \|", (checkout / "CONTRIBUTING.md").read_text(), re.MULTILINE)
    return {room.rstrip("/"): int(floor) for floor, room in rows}


def imports(plugins: Path, file: Path) -> Iterator[str]:
    """What a file imports, inside functions too: a path below ``plugins`` for what is ours, else the first word."""
    package = file.relative_to(plugins).parent.parts
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = ".".join((*_OURS.rstrip(".").split("."), *package[: len(package) + 1 - node.level])) if node.level else ""
            names = [".".join(filter(None, (above, node.module, alias.name))) for alias in node.names]
        else:
            continue
        for name in names:
            yield _place(plugins, name[len(_OURS) :].split(".")) if name.startswith(_OURS) else name.split(".")[0]


def _place(plugins: Path, words: list[str]) -> str:
    while not plugins.joinpath(*words).is_dir() and not plugins.joinpath(*words).with_suffix(".py").is_file():
        words = words[:-1]
    path = plugins.joinpath(*words)
    return str((path if path.is_dir() else path.with_suffix(".py")).relative_to(plugins))


def room(path: str, rooms: dict[str, int]) -> Optional[str]:
    """The room that a path below ``plugins`` is in: the innermost one of the map."""
    place = path.removeprefix("module_utils/").removesuffix(".py").removesuffix("/__init__")
    return max((each for each in rooms if place == each or place.startswith(each + "/")), key=len, default=None)


def arrows(plugins: Path, rooms: dict[str, int]) -> Iterator[tuple[str, str, str]]:
    """(file, its room, the other room that it imports)."""
    for file in sorted(plugins.rglob("*.py")):
        path = str(file.relative_to(plugins))
        mine = room(path, rooms) or path
        theirs = {room(each, rooms) for each in imports(plugins, file) if (plugins / each).exists()}
        yield from ((path, mine, other) for other in theirs if other and other != mine)


@functools.lru_cache
def offences(checkout: Path) -> set[str]:
    """One sentence for each import that breaks a rule of the map."""
    plugins, rooms = checkout / "plugins", floors(checkout)
    found = set()
    for path, mine, other in arrows(plugins, rooms):
        if path == _REGISTRY:
            continue
        # Single files of the ground floor may lean on each other; that they don't do so in circles is another test.
        if (rooms.get(mine) != 0 or rooms[other] != 0) and rooms.get(mine, 0) <= rooms[other]:
            found.add(f"{path} ({mine}) imports {other}")
    return found | on_targets(plugins)


def on_targets(plugins: Path) -> set[str]:
    """What code for targets imports beside the standard library and what Ansible brings along."""
    found, seen, ahead = set(), set(), list(_ON_TARGETS)
    while ahead:
        path = ahead.pop()
        file = plugins / path / "__init__.py" if (plugins / path).is_dir() else plugins / path
        if path in seen or not file.is_file():
            continue
        seen.add(path)
        ahead += [str(parent) for parent in Path(path).parents]
        for each in imports(plugins, file):
            if (plugins / each).exists():
                ahead.append(each)
            elif each not in {*sys.stdlib_module_names, "ansible"} and (path, each) not in _NEVER_LOADED_THERE:
                found.add(f"{path} runs on targets and imports {each}")
    return found


def circle(plugins: Path, rooms: dict[str, int]) -> list[str]:
    """Rooms that import each other in a circle; empty where there is none."""
    known: dict[str, set[str]] = {}
    for path, mine, other in arrows(plugins, rooms):
        if path != _REGISTRY:
            known.setdefault(mine, set()).add(other)
    before = -1
    while before != len(known):
        before, imported = len(known), set().union(*known.values())
        known = {each: others & known.keys() for each, others in known.items() if others & known.keys() and each in imported}
    return sorted(known)


def test_every_import_goes_down_in_the_map() -> None:
    assert offences(CHECKOUT) == set()


def test_no_rooms_import_each_other_in_a_circle() -> None:
    in_circle = circle(CHECKOUT / "plugins", floors(CHECKOUT))
    assert in_circle == []


def test_the_map_has_every_room_and_no_other() -> None:
    rooms, plugins = floors(CHECKOUT), CHECKOUT / "plugins"
    without = {str(each.relative_to(plugins)) for each in plugins.rglob("*.py") if not room(str(each.relative_to(plugins)), rooms)}
    assert {each for each in without if each != "module_utils/__init__.py" and not each.startswith("doc_fragments/")} == set()
    gone = {
        each
        for each in rooms
        if not any((plugins / below / (each + end)).exists() for below in ("", "module_utils") for end in ("", ".py"))
    }
    assert gone == set()
    # Each kind of path is a room of its own, or a kind could import another.
    kinds = {f"_proof/{each.parent.name}" for each in plugins.glob("module_utils/_proof/*/__init__.py")}
    assert kinds == {each for each in rooms if each.startswith("_proof/")}


@pytest.mark.parametrize(
    ("path", "line", "named"),
    [
        ("_kube/wait.py", "from .._routes import load", "_kube/wait.py (_kube) imports _routes"),
        ("_kube/wait.py", f"from {_OURS}module_utils._routes.load import load", "_kube/wait.py (_kube) imports _routes"),
        ("_values.py", "from . import _schema", "_values.py (_values) imports _schema"),
        ("_proof/picture.py", "from . import vm_nginx", "_proof/picture.py (_proof) imports _proof/vm_nginx"),
        ("_proof/second/plan.py", "from ..vm_nginx import plan", "_proof/second/plan.py (_proof/second) imports _proof/vm_nginx"),
        ("_probe/wire.py", "def late():\n    import yaml", "_probe/wire.py runs on targets and imports yaml"),
    ],
)  # fmt: skip
def test_a_planted_import_is_named(tmp_path: Path, path: str, line: str, named: str) -> None:
    shutil.copytree(CHECKOUT / "plugins", tmp_path / "plugins", ignore=shutil.ignore_patterns("__pycache__"))
    text = (CHECKOUT / "CONTRIBUTING.md").read_text()
    (tmp_path / "CONTRIBUTING.md").write_text(re.sub(r"(\| \d+ \| `_proof/)vm_nginx(/?` .*\n)", r"\g<0>\1second\2", text))
    second = tmp_path / "plugins" / "module_utils" / "_proof" / "second"
    second.mkdir()
    for name in ("__init__.py", "plan.py"):
        (second / name).write_text("x = 1\n")
    with (tmp_path / "plugins" / "module_utils" / path).open("a") as file:
        file.write(f"\n{line}\n")
    assert offences(tmp_path) - offences(CHECKOUT) == {f"module_utils/{named}"}


def test_a_planted_circle_is_found(tmp_path: Path) -> None:
    for name, text in {"_files": "from . import _errors", "_errors": "from . import _files", "_plain": "from . import _errors"}.items():
        (tmp_path / "module_utils").mkdir(exist_ok=True)
        (tmp_path / "module_utils" / f"{name}.py").write_text(text)
    assert circle(tmp_path, {"_files": 0, "_errors": 0, "_plain": 0}) == ["_errors", "_files"]
