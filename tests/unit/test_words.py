# SPDX-License-Identifier: GPL-3.0-or-later
"""One meaning for each word: options of modules, variables of roles, and the roles' private names."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from plugins.module_utils._routes.misspelt import KNOWN

CHECKOUT = Path(__file__).parents[2]
ROLES = sorted(each.name for each in (CHECKOUT / "roles").iterdir())
# Rule 13 of the design: these mean one thing everywhere.
WORDS = {"wait": "bool", "wait_timeout": "int", "timeout": "int", "attempt_timeout": "int"}
# Ansible's own.
_ANSIBLE = {"ansible_python_interpreter"}


def options(where: str, given: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """(where it is, name, option), with suboptions."""
    for name, option in given.items():
        yield where, name, option
        yield from options(f"{where}.{name}", option.get("suboptions") or option.get("options") or {})


def of_modules() -> list[tuple[str, str, Mapping[str, Any]]]:
    """Every option of every module, and of every fragment."""
    found: list[tuple[str, str, Mapping[str, Any]]] = []
    for file in sorted(CHECKOUT.glob("plugins/modules/*.py")):
        for node in ast.parse(file.read_text()).body:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "DOCUMENTATION":
                found += options(file.stem, yaml.safe_load(ast.literal_eval(node.value)).get("options") or {})
    return found


def specs(role: str) -> dict[str, Mapping[str, Any]]:
    """Every variable of a role, of all its entry points."""
    text = (CHECKOUT / "roles" / role / "meta" / "argument_specs.yml").read_text()
    return {
        name: option for entry in yaml.safe_load(text)["argument_specs"].values() for name, option in (entry.get("options") or {}).items()
    }


def of_roles() -> list[tuple[str, str, Mapping[str, Any]]]:
    """Every variable of every role, by its name without the role's."""
    return [(f"role {role}", name.removeprefix(role + "_"), option) for role in ROLES for name, option in specs(role).items()]


def kind(option: Mapping[str, Any]) -> str:
    return f"{option.get('type', 'str')} of {option['elements']}" if "elements" in option else str(option.get("type", "str"))


def private_names(role: str) -> Iterator[tuple[str, str]]:
    """(file, name) of each variable that a role sets."""
    folder = CHECKOUT / "roles" / role
    for name in yaml.safe_load((folder / "vars" / "main.yml").read_text()) or {} if (folder / "vars" / "main.yml").exists() else {}:
        yield "vars/main.yml", name
    for file in sorted((*folder.glob("tasks/*.yml"), *folder.glob("handlers/*.yml"))):
        for task in _tasks(yaml.safe_load(file.read_text()) or []):
            names = {*(task.get("vars") or {}), *(task.get("ansible.builtin.set_fact") or {}), *filter(None, [task.get("register")])}
            names |= {task["loop_control"]["loop_var"]} if "loop_var" in (task.get("loop_control") or {}) else set()
            yield from ((f"tasks/{file.name}", name) for name in sorted(names - {"cacheable"}))


def _tasks(listed: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for task in listed:
        yield task
        for part in ("block", "rescue", "always"):
            yield from _tasks(task.get(part) or [])


def two_meanings() -> set[str]:
    found, modules, roles = set(), of_modules(), of_roles()
    for where, name, option in [*modules, *roles]:
        if name in WORDS and kind(option) != WORDS[name]:
            found.add(f"{where}: {name} is {kind(option)}, everywhere else {WORDS[name]}")
        if name == "deadline" or (name == "timeout" and re.search("attempt|one probe|each of", str(option["description"]))):
            found.add(f"{where}: {name} is not the seconds of the whole task, or has another name everywhere else")
    for who, given in {"": [each for each in modules if "." not in each[0]], "*_": roles}.items():
        for word in {name for _, name, _ in given}:
            kinds = sorted({kind(option) for _, name, option in given if name == word})
            if len(kinds) > 1 and word not in WORDS:
                found.add(f"{who}{word} is {' and '.join(kinds)}")
    return found


def not_private() -> set[str]:
    public = {name for role in ROLES for name in specs(role)}
    found = set()
    for role in ROLES:
        documented = set(re.findall(r"C\((\w+)\)", (CHECKOUT / "roles" / role / "meta" / "argument_specs.yml").read_text()))
        names = {name for _, name in private_names(role)} - public - documented - _ANSIBLE
        found |= {f"{role}: {name}" for name in names if not name.startswith(role + "__")}
    return found


def test_each_word_means_one_thing() -> None:
    assert two_meanings() == set()


def test_what_a_role_sets_is_private_or_documented() -> None:
    assert not_private() == set()


def test_playbooks_and_roles_know_no_variable_that_read_routes_would_call_a_typing_error() -> None:
    files = [*CHECKOUT.glob("playbooks/*.yml"), *CHECKOUT.glob("roles/*/*/*.yml")]
    words = {name for file in files for name in re.findall(r"(?<![\w.])edge_(?!_)\w+", file.read_text())}
    assert words - KNOWN - {"edge_nginx", "edge_probe", "edge_access_lists"} == set()


@pytest.mark.parametrize("role", ROLES)
def test_defaults_and_argument_specs_have_the_same_variables(role: str) -> None:
    defaults = yaml.safe_load((CHECKOUT / "roles" / role / "defaults" / "main.yml").read_text())
    described = specs(role)
    assert defaults.keys() - described.keys() == set()
    assert {name for name, option in described.items() if not option.get("required")} - defaults.keys() == set()
    unlike = {name for name, value in defaults.items() if "default" in described[name] and value != described[name]["default"]}
    assert unlike == set()


@pytest.mark.parametrize("role", ROLES)
def test_a_roles_variables_begin_with_its_name(role: str) -> None:
    assert [name for name in specs(role) if not re.match(rf"{role}_[a-z0-9]", name)] == []
