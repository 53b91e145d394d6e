# SPDX-License-Identifier: GPL-3.0-or-later
"""Where things are kept and whose they are: CAs in a folder, CA certificates in ConfigMaps, Secrets that somebody else claims."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from plugins.module_utils._secrets import authority, folder
from plugins.module_utils._x509 import facts
from plugins.module_utils._x509.material import from_secret
from tests.unit.x509.cluster import Cluster
from tests.unit.x509.pki import NOW
from tests.unit.x509.test_x509_delivery import CA, CA_REF, CACERT, CLIENT, NIC, SERVER, actions, refusal, run, secret


@pytest.fixture
def wanted(tmp_path: Path) -> list[dict[str, Any]]:
    """All of a CA in a folder; the leaves first, to show that their order doesn't matter."""
    place = str(tmp_path / "ca")
    leaves = [{**each, "issue": {**each["issue"], "ca": {**CA_REF, "folder": place}}} for each in (SERVER, CLIENT)]
    return [*leaves, CACERT, {**CA, "issue": {"usage": "ca", "folder": place}}]


def rolled(wanted: list[dict[str, Any]], stage: str) -> list[dict[str, Any]]:
    return [*wanted[:-1], {**wanted[-1], "issue": {**wanted[-1]["issue"], "roll_over": stage}}]


@pytest.fixture(autouse=True)
def _trust_the_tests_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """pytest's folders lie in /tmp; what is asked of a folder is test_x509_files.py's."""
    monkeypatch.setattr("plugins.module_utils._files.check_folder", lambda path: None)


def test_a_ca_in_a_folder_keeps_its_key_out_of_the_cluster(tmp_path: Path, wanted: list[dict[str, Any]]) -> None:
    cluster = Cluster()
    assert actions(run(cluster, wanted, check=True)) == ["created"] * 4
    assert not (tmp_path / "ca").exists()
    assert actions(run(cluster, wanted)) == ["created"] * 4
    file = tmp_path / "ca" / "ca.pem"
    assert (oct(file.stat().st_mode), oct(file.parent.stat().st_mode)) == ("0o100600", "0o40700")
    there = cluster.secrets[("edge", "ca")]
    assert (there["type"], list(there["data"])) == ("Opaque", ["ca.crt"])
    assert facts.issued_by(secret(cluster, "mesh", "shop").leaf, secret(cluster, "mesh", "shop-cacert").ca[0])
    before = file.stat()
    for _again in range(2):
        assert actions(run(cluster, wanted)) == ["unchanged"] * 4
        assert file.stat().st_ino == before.st_ino
    assert actions(run(cluster, wanted[:-1])) == ["unchanged"] * 3, "leaves alone, from the folder"
    assert refusal(cluster, [{**wanted[0], "name": "x", "issue": {**wanted[0]["issue"], "ca": CA_REF}}]).code == "CA_KEY_MISSING"


def test_a_roll_over_in_a_folder(tmp_path: Path, wanted: list[dict[str, Any]]) -> None:
    cluster = Cluster()
    run(cluster, wanted)
    for stage in ("add", "switch", "finish"):
        assert actions(run(cluster, rolled(wanted, stage), check=True)) == actions(run(cluster, rolled(wanted, stage)))
        if stage != "finish":
            assert actions(run(cluster, rolled(wanted, stage))) == ["unchanged"] * 4
    kept = authority.load_file((tmp_path / "ca" / "ca.pem").read_bytes(), "")
    assert (len(kept.trusted), kept.successor) == (1, None)
    assert facts.issued_by(secret(cluster, "edge", "client").leaf, kept.signing.leaf)
    assert os.listdir(tmp_path / "ca") == ["ca.pem"]


def test_a_lost_file_is_an_error_not_a_new_ca(tmp_path: Path, wanted: list[dict[str, Any]]) -> None:
    cluster = Cluster()
    run(cluster, wanted)
    (tmp_path / "ca" / "ca.pem").unlink()
    error = refusal(cluster, wanted)
    assert error.code == "CA_LOST"
    assert {each["code"] for each in error.details.get("errors", [{"code": "CA_LOST"}])} <= {"CA_LOST", "CA_SECRET_MISSING"}
    assert not (tmp_path / "ca" / "ca.pem").exists()


def test_a_folder_is_no_way_around_a_ca_in_a_secret(wanted: list[dict[str, Any]]) -> None:
    cluster = Cluster()
    run(cluster, [CA])
    assert refusal(cluster, wanted).code == "CA_LOST"


def test_a_file_that_others_may_read_is_refused(tmp_path: Path, wanted: list[dict[str, Any]]) -> None:
    run(Cluster(), wanted)
    (tmp_path / "ca" / "ca.pem").chmod(0o644)
    assert refusal(Cluster(), wanted[-1:]).code == "FOLDER_UNSAFE"


def test_a_slower_run_does_not_overwrite_a_faster_ones_ca(tmp_path: Path) -> None:
    path = str(tmp_path / "ca.pem")
    folder.write(path, b"one", None)
    (tmp_path / ".ca.pem.new").write_bytes(b"half")
    with pytest.raises(Exception, match="faster"):
        folder.write(path, b"two", None)
    folder.write(path, b"two", b"one")
    assert {each.name: each.read_bytes() for each in tmp_path.iterdir()} == {"ca.pem": b"two"}


CONFIG_MAP = {**CACERT, "kind": "ConfigMap"}


def test_a_ca_credential_as_config_map() -> None:
    cluster = Cluster()
    wanted = [CA, CACERT, CONFIG_MAP]  # a Secret and a ConfigMap may have one name
    assert actions(run(cluster, wanted, check=True)) == actions(run(cluster, wanted)) == ["created"] * 3
    made = cluster.secrets[("ConfigMap mesh", "shop-cacert")]
    assert (made["kind"], "type" in made, list(made["data"])) == ("ConfigMap", False, ["cacert"])
    assert made["data"]["cacert"].startswith("-----BEGIN CERTIFICATE-----")
    assert from_secret(made).ca == secret(cluster, "edge", "ca").ca
    assert actions(run(cluster, wanted)) == ["unchanged"] * 3
    made["data"]["cacert"] = "junk"
    (_ca, _secret, plan) = run(cluster, wanted)
    assert (plan.action, plan.difference()["before_header"]) == ("changed", "ConfigMap mesh/shop-cacert")
    run(cluster, [CA, NIC])
    run(cluster, [{**CA, "issue": {"usage": "ca", "roll_over": "add"}}, NIC])
    late = refusal(cluster, [{**CA, "issue": {"usage": "ca", "roll_over": "switch"}}])
    assert late.details["secrets"] == ["Secret mesh/shop-cacert", "ConfigMap mesh/shop-cacert"]
    assert actions(run(cluster, [CONFIG_MAP], state="absent")) == ["deleted"]
    assert "can't hold a key" in refusal(cluster, [{**SERVER, "kind": "ConfigMap"}]).sentence


@pytest.mark.parametrize(
    ("metadata", "who"),
    [
        ({"ownerReferences": [{"kind": "Certificate", "name": "shop"}]}, "Certificate shop"),
        (
            {"managedFields": [{"manager": "cert-manager", "operation": "Apply", "fieldsV1": {"f:data": {"f:tls.crt": {}}}}]},
            "field manager cert-manager",
        ),
    ],
)
def test_a_secret_that_somebody_has_claimed_is_left_alone(metadata: dict[str, Any], who: str) -> None:
    """Although it carries our label."""
    cluster = Cluster()
    run(cluster, [CA, SERVER])
    cluster.secrets[("mesh", "shop")]["metadata"].update(metadata)
    due = {**SERVER, "issue": {**SERVER["issue"], "names": ["other.example.com"]}}
    for state in ("present", "absent"):
        error = refusal(cluster, [due], state=state)
        assert (error.code, who in error.sentence) == ("NOT_OURS", True)
    assert actions(run(cluster, [{**SERVER, "keep_foreign": True}])) == ["unchanged"]
    assert actions(run(cluster, [{**due, "adopt": True}])) == ["changed"]


def test_an_edit_is_no_claim_but_mended() -> None:
    cluster = Cluster()
    run(cluster, [CA, SERVER])
    there = cluster.secrets[("mesh", "shop")]
    there["metadata"]["managedFields"] = [{"manager": "kubectl-edit", "operation": "Update", "fieldsV1": {"f:data": {"f:tls.crt": {}}}}]
    there["data"]["tls.crt"] = "anVuaw=="
    assert actions(run(cluster, [SERVER], now=NOW)) == ["changed"]


def test_what_the_seed_makes_by_hand_for_an_iks_alb() -> None:
    """alb-certs from a Secret in another namespace, and the gateway's -cacert from it, with the names that each reader wants."""
    cluster = Cluster()
    run(cluster, [CA, CLIENT])
    alb = {"namespace": "mesh", "name": "alb-certs", "for": "iks_alb", "from": {"secret": {"namespace": "edge", "name": "client"}}}
    wanted = [
        {**alb, "ca": CA_REF},
        {"namespace": "mesh", "name": "nlb-cacert", "for": "gateway_ca", "from": {"secret": {"namespace": "mesh", "name": "alb-certs"}}},
        {"namespace": "mesh", "name": "issued", "for": "iks_alb", "issue": {"ca": CA_REF, "names": ["alb.example.com"]}},
    ]
    assert actions(run(cluster, wanted, check=True)) == actions(run(cluster, wanted)) == ["created"] * 3
    assert sorted(cluster.secrets[("mesh", "alb-certs")]["data"]) == ["client.crt", "client.key", "trusted.crt"]
    assert secret(cluster, "mesh", "alb-certs").certs == secret(cluster, "edge", "client").certs
    assert secret(cluster, "mesh", "nlb-cacert").ca == secret(cluster, "edge", "ca").ca
    assert facts.facts(secret(cluster, "mesh", "issued").leaf)["extended_key_usage"] == ["clientAuth"]
    assert actions(run(cluster, wanted)) == ["unchanged"] * 3
    assert refusal(cluster, [{**alb, "from": {"secret": {"namespace": "edge", "name": "ca"}}}]).code
