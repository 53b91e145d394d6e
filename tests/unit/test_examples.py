# SPDX-License-Identifier: GPL-3.0-or-later
"""Examples and READMEs work: their playbooks parse, their routes pass the schema, and they name no variable that isn't there."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from plugins.module_utils._routes import misspelt
from plugins.module_utils._routes.reading import Reading

CHECKOUT = Path(__file__).parents[2]
EXAMPLES = sorted(file.parent for file in CHECKOUT.glob("examples/*/playbook.yml"))
READMES = sorted((CHECKOUT / "README.md", *CHECKOUT.glob("roles/*/README.md")))
# Goes with the parts of the change that are not merged yet; must end up empty.
ROLES = sorted(each.name for each in (CHECKOUT / "roles").iterdir())


def public(role: str) -> set[str]:
    """A role's variables, and what it sets for others."""
    text = (CHECKOUT / "roles" / role / "meta" / "argument_specs.yml").read_text()
    return {name for entry in yaml.safe_load(text)["argument_specs"].values() for name in entry.get("options") or {}} | set(
        re.findall(rf"C\(({role}_\w+)\)", text)
    )


def unknown(text: str) -> set[str]:
    """Names in a text that look like variables of ours and are none."""
    modules = {file.stem for file in CHECKOUT.glob("plugins/modules/*.py")}
    ours = set(re.findall(r"\w+", "".join(file.read_text() for file in CHECKOUT.glob("playbooks/*.yml"))))
    known = misspelt.KNOWN.union(*map(public, ROLES), ROLES, modules, ours, {"istio_gateway"})
    words = set(re.findall(rf"(?<![\w./])(?:edge|{'|'.join(ROLES)})_[a-z]\w+(?![\w/])", text))
    return {word for word in words - known if not any(each.startswith(word) for each in ROLES)}


def snippets(file: Path) -> list[dict[str, Any]]:
    """The variables of each YAML block that has a whole list of routes, or of the play in it."""
    blocks = re.findall(r"^```yaml\n(.*?)^```", file.read_text(), re.MULTILINE | re.DOTALL)
    found = [yaml.safe_load(block) for block in blocks if "edge_routes:" in block and "…" not in block]
    return [each[0]["vars"] if isinstance(each, list) else each for each in found]


def answers(folder: Path, name: str) -> dict[str, Any]:
    """What somebody answers to the survey that goes with a file of variables."""
    if name != "self-service":
        return {}
    asked = {each["variable"]: each for each in json.loads((folder / "survey.json").read_text())["spec"]}
    given = {"edge_host": "wiki.example.com", "edge_service": "wiki", "edge_service_namespace": "wiki", "edge_service_port": "8080"}
    assert asked.keys() - given.keys() == {"edge_state"}
    return {**given, "edge_state": asked["edge_state"]["default"]}


@pytest.mark.parametrize("folder", EXAMPLES, ids=lambda folder: str(folder.name))
def test_an_example_is_a_playbook_and_its_routes_pass_the_schema(folder: Path, tmp_path: Path) -> None:
    link = tmp_path / "ansible_collections" / "edgemesh" / "nginx_istio"
    link.parent.mkdir(parents=True)
    link.symlink_to(CHECKOUT)
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "--syntax-check", "-i", "inventory.yml", "playbook.yml"]
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(tmp_path)}, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    everywhere = folder / "group_vars" / "all.yml"
    lists = [file for file in folder.glob("*.yml") if file.stem not in ("inventory", "playbook")] or [everywhere]
    for file in lists:
        variables = {**yaml.safe_load(everywhere.read_text()), **yaml.safe_load(file.read_text()), **answers(file.parent, file.stem)}
        misspelt.check(variables)
        assert Reading.of_variables(variables).routes
        assert unknown(everywhere.read_text() + file.read_text()) == set()


def test_every_example_has_a_row_in_their_readme() -> None:
    rows = re.findall(r"^\| \[(\w+)\]\(\1\) \|", (CHECKOUT / "examples" / "README.md").read_text(), re.MULTILINE)
    assert sorted(rows) == [folder.name for folder in EXAMPLES]


@pytest.mark.parametrize("file", READMES, ids=lambda file: str(file.parent.name))
def test_a_readmes_routes_pass_the_schema(file: Path) -> None:
    for variables in snippets(file):
        assert Reading.of_variables(variables).routes
    assert unknown(file.read_text()) == set()
