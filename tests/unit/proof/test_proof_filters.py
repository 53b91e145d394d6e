"""The filters: what playbooks call, with what Ansible hands over."""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path

import pytest
import yaml
from ansible.errors import AnsibleFilterError

from plugins.filter import proof
from plugins.module_utils._proof import entry
from plugins.module_utils._x509 import library
from plugins.module_utils._x509.facts import facts
from tests.unit.proof.test_proof_files import DUMP
from tests.unit.proof.world import PLANNED, TLS_DIR, pem, pki, routes

FOLDER = Path(proof.__file__).parent
FILTERS = proof.FilterModule().filters()


def test_every_documented_option_is_taken_and_no_other() -> None:
    documented = yaml.safe_load((FOLDER / "proof_plan.yml").read_text(encoding="utf-8"))["DOCUMENTATION"]["options"]
    taken = set(re.findall(r'given(?:\.get\(|\[)"([a-z_]+)"', inspect.getsource(entry.planned)))
    assert taken == documented.keys() - {"_input"}


def test_numbers_may_come_as_text() -> None:
    plan = FILTERS["proof_plan"](routes(), **PLANNED, repeat="3")
    probe = next(each for each in plan["probes"]["client"] if "/path.repeat/" in each["name"])
    assert probe["consecutive"] == 3


def test_the_foreign_ca_is_made_anew_and_signed_nothing() -> None:
    cas = set()
    for _run in range(2):
        plan = FILTERS["proof_plan"](routes(), **PLANNED)
        cas.add(next(each["tls"]["ca_pem"] for each in plan["probes"]["vm-1"] if "/gateway.foreign_ca/" in each["name"]))
    assert len(cas) == 2
    assert all(facts(each)["subject"] == "CN=edgemesh nobody" for each in cas)
    assert "PRIVATE" not in json.dumps(plan)


def test_the_lines_that_nginx_printed_are_read() -> None:
    lines = ["nginx version: nginx/1.22.1", *DUMP.splitlines()[1:]]
    plan = FILTERS["proof_plan"](routes()[:1], **PLANNED, nginx=lines)
    assert {proof["wanted"]["value"] for proof in plan["proofs"] if proof["check"] == "nginx.sni"} == {"shop.example.com"}


def test_what_lies_on_the_vm_decides_whom_clients_trust() -> None:
    files = f"{TLS_DIR}/edgemesh/shop-public/tls.crt\n{pem(pki()['gateway'])}{TLS_DIR}/edgemesh/edge-ca/ca.crt\n{pem(pki()['ca'])}"
    plan = FILTERS["proof_plan"](routes()[:1], **PLANNED, files=files)
    assert all("ca_pem" in each["tls"] for each in plan["probes"]["client"] if each.get("tls", {}).get("rules") == "nginx")


def test_the_installed_collections_version_comes_from_its_manifest(tmp_path: Path) -> None:
    (tmp_path / "MANIFEST.json").write_text('{"collection_info": {"version": "9.8.7"}}', encoding="utf-8")
    assert entry.version(tmp_path) == "9.8.7"


def test_a_library_that_is_missing_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "_missing", "cryptography")
    with pytest.raises(AnsibleFilterError, match="cryptography is missing"):
        FILTERS["proof_plan"](routes(), **PLANNED)
