# SPDX-License-Identifier: GPL-3.0-or-later
"""Another kind of path than a VM's nginx: the core proves, judges and draws it without a word of its own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from plugins.action import proof_probe, proof_report
from plugins.module_utils._probe import spec
from plugins.module_utils._probe.judge import Trust, result
from plugins.module_utils._probe.observation import HttpSeen, Observation
from plugins.module_utils._proof import kinds
from tests.unit.proof import tiny_kind
from tests.unit.proof.materials import SHOP, read

#: Routes that another kind takes.
OTHERS = read(SHOP)


@pytest.fixture(autouse=True)
def tiny() -> Iterator[None]:
    with kinds.registered(tiny_kind.KIND):
        yield


class Probe(proof_probe.ActionModule):
    """On a host whose shell says the time, and from where the relay answers."""

    def __init__(self, host: str, shelf: str = "7") -> None:
        self._task = SimpleNamespace(check_mode=False, delegate_to=host)
        self._connection = SimpleNamespace(_play_context=SimpleNamespace(no_log=False))
        self.shelf = shelf

    def _low_level_execute_command(self, command: str) -> dict[str, str]:
        (mark,) = set(re.findall(r"\b[0-9a-f]{16}\b", command))
        assert "{ date; }" in command
        return {"stdout": f"{mark} clock\nnoon\n{mark} ended 0\n"}

    def probed(self, params: dict[str, Any], task_vars: dict[str, Any]) -> tuple[list[dict[str, Any]], str]:
        return [self._result(spec.path(entry)) for entry in params["paths"]], "3.13"

    def _result(self, path: spec.Path) -> dict[str, Any]:
        known = path.http is not None and path.http.host == "gift.example"
        answer = HttpSeen(200 if known else 404, "1.1", "", {"x-shelf": self.shelf})
        seen = Observation(started="2026-12-01T00:00:00.000+00:00", source="192.0.2.1", times={"http": 1.0}, http=answer, attempts=1)
        return result(path, [seen], Trust(), "sender-1")

    def answer(self, **given: Any) -> dict[str, Any]:
        checked = ArgumentSpecValidator(proof_probe.ARGUMENTS, **proof_probe.RULES).validate(given)
        assert not checked.error_messages
        return self.work(checked.validated_parameters, {})


def proven(folder: Path, shelf: str = "7") -> dict[str, Any]:
    """Both actions, as role verify calls them."""
    near = Probe("relay-1").answer(kind="tiny", routes=OTHERS, given={"run": "r1"})
    assert (near["others"], near["gateways"], near["logged"]) == (["sender-1"], [], [])
    far = Probe("sender-1", shelf).answer(asked=[near["asked"]])
    options = {"routes": OTHERS, "seen": [near["evidence"]], "answers": [{**far, "item": "sender-1"}], "report_dir": str(folder)}
    checked = ArgumentSpecValidator(proof_report.ARGUMENTS).validate({**options, "minimum": {"positive": 1, "negative": 1}})
    assert not checked.error_messages
    action = proof_report.ActionModule.__new__(proof_report.ActionModule)
    action._task = SimpleNamespace(check_mode=False)
    return action.work(checked.validated_parameters, {})


def words(page: str) -> str:
    """The page's text, without its style."""

    class Words(HTMLParser):
        found: list[str]

        def handle_data(self, data: str) -> None:
            self.found.append(data)

    parser = Words()
    parser.found = []
    parser.feed(re.sub(r"(?s)<style>.*?</style>", "", page))
    return " ".join(parser.found)


def test_its_claims_are_proven_beside_another_kinds(tmp_path: Path) -> None:
    model = proven(tmp_path)
    assert {line["id"]: (line["kind"], line["status"]) for line in model["proofs"]} == {
        "shop/shelf.arrives/sender-1>relay-1": ("tiny", "ok"),
        "shop/relay.stranger/sender-1>relay-1": ("tiny", "ok"),
    }
    other, own = model["routes"]
    assert (own["name"], own["kind"], own["ok"], own["missing"]) == ("shop", "tiny", True, [])
    assert (other["name"], other["kind"], other["ok"]) == ("shop", "vm_nginx", False)
    assert "no VM of this run serves it" in other["missing"][0]
    assert [node["name"] for node in own["chain"]["nodes"]] == ["sender-1", "relay-1", "7"]
    assert [(hop["kind"], hop["hop"], hop["status"]) for hop in model["hops"]] == [("tiny", "handed", "ok"), ("tiny", "all", "ok")]


def test_its_own_rule_and_cause_decide(tmp_path: Path) -> None:
    model = proven(tmp_path, shelf="8")
    (failure,) = model["failures"]
    assert (failure["code"], failure["why"], failure["fix"]) == ("WRONG_SHELF", "The parcel lies on another shelf.", "move it")
    status = {line["check"]: line["status"] for line in model["proofs"]}
    assert status == {"shelf.arrives": "failed", "relay.stranger": "not_tested"}, "a refusal means nothing where nothing is let through"


def test_the_page_shows_its_nodes_and_nothing_of_another_kind(tmp_path: Path) -> None:
    proven(tmp_path)
    text = words((tmp_path / "proof.html").read_text(encoding="utf-8"))
    section = text[text.index("gift.example · by hand") : text.index("A claim holds when")]
    for expected in ("SENDER", "RELAY", "SHELF", "relay-1", "Handed to the relay", "✓ From the sender to the shelf", "? not looked at"):
        assert expected in section
    assert not re.search(r"(?i)nginx|\bVM|gateway|proxy|\bapp\b|client", section)


def test_it_is_gone_afterwards() -> None:
    assert "tiny" in kinds.KINDS
    with kinds.registered(SimpleNamespace(name="other")):  # type: ignore[arg-type]
        assert "other" in kinds.KINDS
    assert "other" not in kinds.KINDS
