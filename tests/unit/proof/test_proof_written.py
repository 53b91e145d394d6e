# SPDX-License-Identifier: GPL-3.0-or-later
"""The action proof_report: its options, and what it leaves on the controller."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from plugins.action import proof_report
from plugins.module_utils._errors import EdgeError
from plugins.module_utils._proof import entry
from plugins.module_utils._proof.carried import Seen
from plugins.module_utils._proof.vm_nginx.kind import KIND
from plugins.modules import proof_report as module
from tests.unit.proof.materials import read
from tests.unit.proof.world import PLANNED

ROOT = Path(module.__file__).parents[2]


def arguments(**given: Any) -> dict[str, Any]:
    proofs = KIND.plan(KIND.routes(read()), entry.given(KIND, PLANNED, "vm-1", check=False), {})
    seen = [Seen("vm-1", [], "no Python", [proof.as_dict() for proof in proofs]).text()]
    asked = [{"item": "client", "unreachable": True, "msg": "no route to host"}]
    checked = ArgumentSpecValidator(proof_report.ARGUMENTS).validate({"routes": read(), "seen": seen, "answers": asked, **given})
    assert not checked.error_messages
    values: dict[str, Any] = checked.validated_parameters
    return values


def work(check: bool = False, **given: Any) -> dict[str, Any]:
    action = proof_report.ActionModule.__new__(proof_report.ActionModule)
    action._task = SimpleNamespace(check_mode=check)
    return action.work(arguments(**given), {})


def described(options: dict[str, Any]) -> dict[str, Any]:
    """Documented options as an argument specification."""
    found: dict[str, Any] = {}
    for name, option in options.items():
        found[name] = {key: value for key, value in option.items() if key not in ("description", "suboptions")}
        if "suboptions" in option:
            found[name]["options"] = described(option["suboptions"])
    return found


def test_its_options_are_the_documented_ones() -> None:
    documented = described(yaml.safe_load(module.DOCUMENTATION)["options"])
    documented["minimum"]["apply_defaults"] = True  # which documentation says of its suboptions
    assert documented == proof_report.ARGUMENTS


def test_the_report_says_why_logs_could_not_be_read_and_which_version_made_it(tmp_path: Path) -> None:
    result = work(run="r1", log=[{"lines": [], "problems": ["forbidden"]}], report_dir=str(tmp_path / "not" / "there"))
    galaxy = yaml.safe_load((ROOT / "galaxy.yml").read_text(encoding="utf-8"))
    assert result["collection"] == {"name": "edgemesh.nginx_istio", "version": galaxy["version"]}
    for why in ("no route to host", "no Python"):
        assert any(why in what for what in result["routes"][0]["missing"]), why
    assert not result["changed"]
    folder = Path(result["path"])
    assert folder == tmp_path / "not" / "there"
    assert json.loads((folder / "proof.json").read_text(encoding="utf-8")) == {
        key: value for key, value in result.items() if key not in ("changed", "path")
    }
    assert "<!doctype html>" in (folder / "proof.html").read_text(encoding="utf-8")
    assert sorted(each.name for each in folder.iterdir()) == ["proof.html", "proof.json"]
    assert {stat.S_IMODE(each.stat().st_mode) for each in folder.iterdir()} == {0o644}


def test_without_a_folder_it_makes_one_for_nobody_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folder = Path(work()["path"])
    assert folder.parent == tmp_path
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert (folder / "proof.html").is_file()


def test_a_relative_folder_is_one_of_where_ansible_was_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert work(report_dir="proof")["path"] == str(tmp_path / "proof")


def test_a_check_writes_nothing(tmp_path: Path) -> None:
    result = work(check=True, report_dir=str(tmp_path / "proof"))
    assert result["check_mode"]
    assert "path" not in result
    assert not (tmp_path / "proof").exists()


def test_a_folder_that_can_not_be_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EdgeError, match=r"file: the report can't be written: .*\. Choose a folder"):
        work(report_dir=str(tmp_path / "file"))


@pytest.mark.parametrize("text", ["shop", "[]", '{"client": []}'])
def test_what_is_no_evidence_is_said(text: str) -> None:
    with pytest.raises(EdgeError, match="Pass `evidence` of its results"):
        work(seen=[text])


def test_minimums_may_come_as_text() -> None:
    assert arguments(minimum={"positive": "7"})["minimum"] == {"positive": 7, "negative": 6}
    assert arguments()["minimum"] == {"positive": 5, "negative": 6}
