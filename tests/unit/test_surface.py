# SPDX-License-Identifier: GPL-3.0-or-later
"""What is public: README lists it, and everything else says in its first line that it is internal."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

CHECKOUT = Path(__file__).parents[2]
INTERNAL = "Internal to the collection's roles; may change in any release."


def readme(kind: str) -> set[str]:
    """What README's table of this kind has in its first column."""
    table = re.search(rf"^\| {kind} \|.*\n\|[-|]+\n((?:\|.*\n)+)", (CHECKOUT / "README.md").read_text(), re.MULTILINE)
    assert table
    return {name.rpartition(".")[2] for row in table[1].splitlines() for name in re.findall(r"`([^`]+)`", row.split("|")[1])}


def internal_roles() -> set[str]:
    """Roles whose README says so."""
    return {file.parent.name for file in CHECKOUT.glob("roles/*/README.md") if INTERNAL in file.read_text()}


def documented(kind: str) -> dict[str, dict[str, Any]]:
    """The documentation of each of our plugins of this kind, by name."""
    if kind == "filter":
        files = {file.stem: file.read_text() for file in (CHECKOUT / "plugins" / "filter").glob("*.yml")}
        return {name: yaml.safe_load(text)["DOCUMENTATION"] for name, text in files.items()}
    return {file.stem: yaml.safe_load(_documentation(file)) for file in (CHECKOUT / "plugins" / "modules").glob("*.py")}


def _documentation(file: Path) -> str:
    blocks = [
        node.value
        for node in ast.parse(file.read_text()).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "DOCUMENTATION"
    ]
    return str(ast.literal_eval(blocks[0]))


@pytest.fixture(scope="module")
def collections(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("collections")
    link = folder / "ansible_collections" / "edgemesh" / "nginx_istio"
    link.parent.mkdir(parents=True)
    link.symlink_to(CHECKOUT)
    return folder


@pytest.mark.parametrize("kind", ["module", "filter"])
def test_ansible_doc_lists_as_public_what_readme_lists(collections: Path, kind: str) -> None:
    command = [str(Path(sys.executable).with_name("ansible-doc")), "--type", kind, "--list", "--json", "edgemesh.nginx_istio"]
    environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(collections)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    listed: dict[str, str] = json.loads(done.stdout)
    public = {name.rpartition(".")[2] for name, said in listed.items() if not said.startswith("Internal - ")}
    assert public == readme(kind.capitalize())


@pytest.mark.parametrize("kind", ["module", "filter"])
def test_what_readme_does_not_list_says_first_that_it_is_internal(kind: str) -> None:
    public, found = readme(kind.capitalize()), documented(kind)
    assert found.keys() >= public
    for name, said in found.items():
        first = said["description"] if isinstance(said["description"], str) else said["description"][0]
        internal = first == INTERNAL and said["short_description"].startswith("Internal - ")
        assert internal == (name not in public), name


def test_readme_lists_every_playbook_and_every_role() -> None:
    assert readme("Playbook") == {file.stem for file in (CHECKOUT / "playbooks").glob("*.yml")}
    assert readme("Role") == {folder.name for folder in (CHECKOUT / "roles").iterdir()} - internal_roles()


def test_every_action_plugin_has_a_module_to_document_it() -> None:
    actions = {file.stem for file in (CHECKOUT / "plugins" / "action").glob("*.py")}
    assert actions <= documented("module").keys()


def test_documentation_fragments_are_private() -> None:
    assert [file.name for file in (CHECKOUT / "plugins" / "doc_fragments").glob("[!_]*.py")] == []


def test_one_licence() -> None:
    licences = {file: yaml.safe_load(file.read_text())["galaxy_info"]["license"] for file in CHECKOUT.glob("roles/*/meta/main.yml")}
    galaxy = yaml.safe_load((CHECKOUT / "galaxy.yml").read_text())["license"]
    assert galaxy == ["GPL-3.0-or-later"]
    assert set(licences.values()) == set(galaxy)
    others = [file for file in (CHECKOUT / "plugins").rglob("*.py") if re.search("Apache|MIT License|BSD", file.read_text()[:400])]
    assert others == []
