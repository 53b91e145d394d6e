# SPDX-License-Identifier: GPL-3.0-or-later
"""The action proof_probe: its options, what it asks of the VM, and what it hands on."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from plugins.action import proof_probe
from plugins.module_utils._errors import EdgeError
from plugins.module_utils._proof import entry
from plugins.module_utils._proof.model import probes
from plugins.module_utils._proof.vm_nginx.kind import KIND
from plugins.module_utils._x509 import library
from plugins.module_utils._x509.facts import facts
from plugins.modules import proof_probe as module
from tests.unit.proof.materials import SHOP, pem, pki, read, read_none
from tests.unit.proof.nodes import TLS_DIR
from tests.unit.proof.test_proof_files import DUMP
from tests.unit.proof.test_proof_written import described
from tests.unit.proof.world import PLANNED

NGINX = "\n".join(["nginx version: nginx/1.22.1", *DUMP.splitlines()[1:]])


def arguments(**given: Any) -> dict[str, Any]:
    values = {**({} if "asked" in given else {"kind": "vm_nginx", "routes": read(), "given": PLANNED}), **given}
    checked = ArgumentSpecValidator(proof_probe.ARGUMENTS, **proof_probe.RULES).validate(values)
    assert not checked.error_messages
    found: dict[str, Any] = checked.validated_parameters
    return found


class Action(proof_probe.ActionModule):
    """The action on a host of which only the commands' output is known."""

    def __init__(self, trouble: str = "", check: bool = False) -> None:
        self._task = SimpleNamespace(check_mode=check, delegate_to=None)
        self._connection = SimpleNamespace(_play_context=SimpleNamespace(no_log=False))
        self.trouble, self.commands, self.asked = trouble, [], {}

    def _low_level_execute_command(self, command: str) -> dict[str, str]:
        assert self._connection._play_context.no_log, "what nginx has configured for others is not for the output"
        self.commands.append(command)
        (mark,) = set(re.findall(r"\b[0-9a-f]{16}\b", command))
        # as by SSH, with a terminal
        printed = f"{mark} nginx\n{NGINX}\n{mark} ended 0\n".replace("\n", "\r\n")
        return {"stdout": printed if "nginx -v -T" in command else "", "stderr": "Connection closed."}

    def probed(self, params: dict[str, Any], task_vars: dict[str, Any]) -> tuple[list[dict[str, Any]], str]:
        self.asked = params
        if self.trouble:
            raise EdgeError(self.trouble)
        return [{"name": each["name"], "ok": True} for each in params["paths"]], "3.13"


def test_its_options_are_the_documented_ones() -> None:
    assert described(yaml.safe_load(module.DOCUMENTATION)["options"]) == proof_probe.ARGUMENTS


def test_it_reads_probes_and_hands_on() -> None:
    action = Action()
    given = arguments(routes=read(SHOP), given={**PLANNED, "nginx": ["ip", "netns", "exec", "a b", "nginx"]}, wait=True, wait_timeout=7)
    result = action.work(given, {"inventory_hostname": "vm-2"})
    (command,) = action.commands
    _shell, _option, script = shlex.split(command)
    assert " ip netns exec 'a b' nginx -v -T 2>&1; }" in script
    assert "{ sed " in script
    assert not action._connection._play_context.no_log
    assert (action.asked["wait"], action.asked["wait_timeout"]) == (True, 7)
    seen = json.loads(result["evidence"])
    assert (seen["by"], seen["trouble"], result["trouble"]) == ("vm-2", "", "")
    assert [each["name"] for each in seen["results"]] == [each["name"] for each in action.asked["paths"]]
    assert {proof["vantage"] for proof in seen["proofs"] if proof["probe"]} == {"vm-2", "client"}
    sent = [each["http"].get("headers", {}) for each in json.loads(result["asked"])["client"] if each.get("http")]
    agents = {headers.get("User-Agent", "") for headers in sent}
    assert result["logged"]
    assert {text[:-1] for text in result["logged"]} <= agents
    assert all(text.endswith('"') for text in result["logged"])
    assert {proof["wanted"]["value"] for proof in seen["proofs"] if proof["check"] == "nginx.sni"} == {"shop.example.com"}


def test_a_client_probes_what_all_vms_ask_of_it() -> None:
    asked = [Action().work(arguments(), {"inventory_hostname": name})["asked"] for name in ("vm-1", "vm-2")]
    action = Action()
    action._task.delegate_to = "client"
    result = action.work(arguments(asked=asked), {"inventory_hostname": "vm-1"})
    assert not action.commands
    wanted = [each["name"] for text in asked for each in json.loads(text)["client"]]
    assert [each["name"] for each in action.asked["paths"]] == wanted
    assert len(wanted) == len(set(wanted)) > 20
    seen = json.loads(result["evidence"])
    assert (seen["by"], seen["proofs"], len(seen["results"])) == ("client", [], len(wanted))
    assert "asked" not in result


@pytest.mark.parametrize("text", ["shop", "[]", "3"])
def test_what_nobody_asked_is_said(text: str) -> None:
    with pytest.raises(EdgeError, match="Pass `asked` of its results unchanged"):
        Action().work(arguments(asked=[text]), {})


def test_a_vm_that_can_not_be_probed_from_is_evidence_too() -> None:
    result = Action("no Python").work(arguments(), {"inventory_hostname": "vm-1"})
    assert "no Python" in result["trouble"]
    seen = json.loads(result["evidence"])
    assert seen["trouble"] == result["trouble"]
    assert not seen["results"]
    assert seen["proofs"]


def test_a_check_waits_for_nothing_and_without_routes_nothing_is_read() -> None:
    action = Action(check=True)
    action.work(arguments(wait=True, wait_timeout=7), {"inventory_hostname": "vm-1"})
    assert action.asked["wait"] is False
    action = Action()
    assert action.work(arguments(routes=read_none()), {"inventory_hostname": "vm-1"})["asked"] == "{}"
    assert not action.commands


def planned(text: str = "", printed: str = "", **given: Any) -> dict[str, list[dict[str, Any]]]:
    """The probes of a plan, by who makes them."""
    told = entry.given(KIND, {**PLANNED, **given}, "vm-1", check=False)
    return probes(KIND.plan(KIND.routes(text or read()), told, {"files": printed}))


def test_values_may_come_as_texts() -> None:
    made = planned(repeat="3", clients='["client"]', gateways='{"main": ["192.0.2.1:443"]}')
    probe = next(each for each in made["client"] if "/path.repeat/" in each["name"])
    assert probe["consecutive"] == 3
    assert "192.0.2.1" in {each["address"] for each in made["vm-1"]}


@pytest.mark.parametrize(
    ("given", "where"), [({"repeat": "many"}, "given.repeat"), ({"clints": []}, "given.clints"), ({"address": ""}, "given.address")]
)
def test_what_a_plan_can_not_be_told_is_named(given: dict[str, Any], where: str) -> None:
    with pytest.raises(EdgeError) as error:
        planned(**given)
    assert error.value.where == where


def test_a_kind_that_there_is_not_is_said() -> None:
    with pytest.raises(EdgeError, match="Did you mean vm_nginx"):
        Action().work(arguments(kind="vm-nginx"), {"inventory_hostname": "vm-1"})


def test_a_host_is_looked_at_for_the_routes_of_its_groups() -> None:
    text = read(SHOP, {**SHOP, "name": "far", "host": "far.example.com", "on": "elsewhere"})
    for groups, names in ((["edge_nginx", "all"], {"shop"}), (["elsewhere"], {"far"}), ([], set()), (None, {"shop", "far"})):
        assert {route.name for route in KIND.routes(text, groups)} == names


def test_addresses_follow_from_what_the_cluster_says() -> None:
    service = {"found": True, "namespace": "istio-system", "name": "istio-ingressgateway", "node_ports": {"https": ["192.0.2.9:30443"]}}
    assert "192.0.2.9" in {each["address"] for each in planned(gateways={}, services=[service])["vm-1"]}
    with pytest.raises(EdgeError, match="has no node ports for port https"):
        planned(gateways={})


def test_the_foreign_ca_is_made_anew_and_signed_nothing() -> None:
    cas = set()
    for _run in range(2):
        made = planned()
        cas.add(next(each["tls"]["ca_pem"] for each in made["vm-1"] if "/gateway.foreign_ca/" in each["name"]))
    assert len(cas) == 2
    assert all(facts(each)["subject"] == "CN=edgemesh nobody" for each in cas)
    assert "PRIVATE" not in json.dumps(made)


def test_what_lies_on_the_vm_decides_whom_clients_trust() -> None:
    files = f"{TLS_DIR}/edgemesh/shop-public/tls.crt\n{pem(pki()['gateway'])}{TLS_DIR}/edgemesh/edge-ca/ca.crt\n{pem(pki()['ca'])}"
    assert all("ca_pem" in each["tls"] for each in planned(read(SHOP), files)["client"] if each.get("tls", {}).get("rules") == "nginx")


def test_the_installed_collections_version_comes_from_its_manifest(tmp_path: Path) -> None:
    (tmp_path / "MANIFEST.json").write_text('{"collection_info": {"version": "9.8.7"}}', encoding="utf-8")
    assert entry.version(tmp_path) == "9.8.7"


def test_a_library_that_is_missing_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "_missing", "cryptography")
    with pytest.raises(EdgeError, match="cryptography is missing"):
        Action().work(arguments(), {})
