# SPDX-License-Identifier: GPL-3.0-or-later
"""tls_secret and tls_secret_export against a real API server, as plays."""

from __future__ import annotations

import base64
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml

from plugins.module_utils._kube.client import Client
from plugins.module_utils._x509 import chain, facts
from plugins.module_utils._x509.material import from_secret
from tests.integration.tls_secret.conftest import Player
from tests.unit.x509.pki import leaf, root

pytestmark = pytest.mark.cluster
ROOT = Path(__file__).parents[3]
MODULE = "edgemesh.nginx_istio.tls_secret"
EXPORT = "edgemesh.nginx_istio.tls_secret_export"


def wanted(namespace: str) -> list[dict[str, Any]]:
    ca = {"namespace": namespace, "name": "edge-ca"}
    return [
        {"namespace": namespace, "name": "edge-shop", "for": "gateway", "issue": {"ca": ca, "names": ["shop.example.com"]}},
        {**ca, "issue": {"usage": "ca"}},
        {"namespace": namespace, "name": "edge-client", "issue": {"usage": "client", "ca": ca, "names": ["edge.example.com"]}},
        {"namespace": namespace, "name": "edge-shop-cacert", "for": "gateway_ca", "from": {"secret": ca}},
        {"namespace": namespace, "name": "nic-ca", "for": "nginx_ca", "from": {"secret": ca}},
    ]


def exports(namespace: str, folder: Path) -> list[dict[str, Any]]:
    return [
        {
            "secret": {"namespace": namespace, "name": "edge-client"},
            "cert": f"{folder}/tls/client/tls.crt",
            "key": f"{folder}/tls/client/tls.key",
        },
        {"secret": {"namespace": namespace, "name": "edge-ca"}, "ca": f"{folder}/tls/ca/ca.crt"},
        {"secret": {"namespace": namespace, "name": "nic-ca"}, "ca": f"{folder}/tls/nic/ca.crt", "public_mode": "0640"},
    ]


def tasks(namespace: str, folder: Path, state: str = "present") -> list[dict[str, Any]]:
    made = [
        {"name": "secrets", MODULE: {"secrets": wanted(namespace), "state": state}},
        {"name": "export", EXPORT: {"exports": exports(namespace, folder), "state": state}},
    ]
    return made if state == "present" else made[::-1]


def secrets(client: Client, namespace: str) -> dict[str, dict[str, Any]]:
    return {each["metadata"]["name"]: each for each in client.list("Secret", namespace)[0]}


def snapshot(client: Client, namespace: str, folder: Path) -> Any:
    files = {str(path): (path.stat().st_ino, path.stat().st_mtime_ns, path.stat().st_mode) for path in sorted(folder.rglob("*"))}
    return {name: each["metadata"]["resourceVersion"] for name, each in secrets(client, namespace).items()}, files


def test_from_nothing_to_files_and_back(client: Client, namespace: str, folder: Path, play: Player) -> None:
    """Check mode on the empty cluster and host predicts the run; runs 2 and 3 change nothing; absent leaves nothing."""
    predicted = play(tasks(f"{namespace}-later", folder), "--check", "--diff")
    assert predicted.code == 0, predicted.printed
    assert snapshot(client, namespace, folder) == ({}, {})
    first = play(tasks(namespace, folder), "--diff")
    assert first.code == 0, first.printed
    assert predicted.changed() == first.changed() == {"secrets": True, "export": True}
    for task in ("secrets", "export"):
        assert [each["changed"] for each in predicted.one(task)["results"]] == [each["changed"] for each in first.one(task)["results"]]
        assert {each["certificate"] for each in predicted.one(task)["results"]} == {"(known after apply)"}
    before = snapshot(client, namespace, folder)
    assert len(before[0]) == 5
    for options in ((), ("--check", "--diff"), ()):
        again = play(tasks(namespace, folder), *options)
        assert again.changed() == {"secrets": False, "export": False}, again.printed
        assert snapshot(client, namespace, folder) == before
    material = {name: from_secret(each) for name, each in secrets(client, namespace).items()}
    assert (folder / "tls/client/tls.key").read_bytes() == material["edge-client"].key_pem()
    assert oct((folder / "tls/client/tls.key").stat().st_mode) == "0o100600"
    assert oct((folder / "tls/client").stat().st_mode) == "0o40700"
    assert oct((folder / "tls/nic/ca.crt").stat().st_mode) == "0o100640"
    assert first.one("export")["paths"] == [
        f"{folder}/tls/client/tls.crt",
        f"{folder}/tls/client/tls.key",
        f"{folder}/tls/ca/ca.crt",
        f"{folder}/tls/nic/ca.crt",
    ]
    trust = (folder / "tls/ca/ca.crt").read_text()
    for rules in ("nginx", "envoy"):
        assert chain.verify(material["edge-shop"].certs, trust, rules=rules, name="shop.example.com").ok
        assert chain.verify((folder / "tls/client/tls.crt").read_text(), trust, rules=rules, purpose="client").ok
    gone = play(tasks(namespace, folder, "absent"), "--diff")
    assert gone.changed() == {"secrets": True, "export": True}
    assert snapshot(client, namespace, folder) == ({}, {})
    assert play(tasks(namespace, folder, "absent")).changed() == {"secrets": False, "export": False}


def test_drift_of_a_file_is_mended_and_only_it(client: Client, namespace: str, folder: Path, play: Player) -> None:
    assert play(tasks(namespace, folder)).code == 0
    key, cert, ca = (folder / f"tls/{name}" for name in ("client/tls.key", "client/tls.crt", "ca/ca.crt"))
    good, untouched = key.read_bytes(), ca.stat()
    key.chmod(0o644)
    cert.write_text("junk")
    predicted, mended = play(tasks(namespace, folder), "--check"), play(tasks(namespace, folder))
    for run in (predicted, mended):
        states = {each["path"]: each["changed"] for result in run.one("export")["results"] for each in result["files"]}
        assert states == {str(key): True, str(cert): True, str(ca): False, f"{folder}/tls/nic/ca.crt": False}
    assert (key.read_bytes(), oct(key.stat().st_mode)) == (good, "0o100600")
    assert cert.read_text().startswith("-----BEGIN CERTIFICATE-----")
    assert ca.stat() == untouched or (ca.stat().st_ino, ca.stat().st_mtime_ns) == (untouched.st_ino, untouched.st_mtime_ns)


def test_two_runs_at_once_agree_on_one_ca(client: Client, namespace: str, play: Player) -> None:
    with ThreadPoolExecutor(2) as pool:
        runs = list(pool.map(lambda _number: play([{"name": "secrets", MODULE: {"secrets": wanted(namespace)}}]), range(2)))
    assert [run.code for run in runs] == [0, 0], [run.printed for run in runs]
    made = {name: from_secret(each) for name, each in secrets(client, namespace).items()}
    for name in ("edge-shop", "edge-client"):
        assert facts.issued_by(made[name].leaf, made["edge-ca"].leaf)
    assert made["edge-shop-cacert"].ca == made["nic-ca"].ca == made["edge-ca"].certs
    assert not play([{"name": "secrets", MODULE: {"secrets": wanted(namespace)}}]).one("secrets")["changed"]


def test_refusals_touch_nothing(client: Client, namespace: str, folder: Path, play: Player) -> None:
    assert play(tasks(namespace, folder)).code == 0
    client.create({"apiVersion": "v1", "kind": "Secret", "metadata": {"namespace": namespace, "name": "theirs"}, "stringData": {"a": "b"}})
    loose = folder / "loose"
    loose.mkdir()
    loose.chmod(0o777)
    before = snapshot(client, namespace, folder)
    ca = {"namespace": namespace, "name": "edge-ca"}
    client_secret = {"namespace": namespace, "name": "edge-client"}
    bad: dict[str, tuple[dict[str, Any], str]] = {
        "not ours": ({MODULE: {"secrets": [{"namespace": namespace, "name": "theirs", "issue": {"usage": "ca"}}]}}, "NOT_OURS"),
        "no such namespace": (
            {MODULE: {"secrets": [{"namespace": f"{namespace}-no", "name": "a", "issue": {"ca": ca, "names": ["a"]}}]}},
            "NAMESPACE_NOT_FOUND",
        ),
        "no such CA": (
            {MODULE: {"secrets": [{"namespace": namespace, "name": "a", "issue": {"ca": {**ca, "name": "no"}, "names": ["a"]}}]}},
            "CA_SECRET_MISSING",
        ),
        "another CA": ({MODULE: {"secrets": [{**ca, "issue": {"usage": "ca", "key_type": "rsa"}}]}}, "CA_DOES_NOT_FIT"),
        "client as gateway": (
            {MODULE: {"secrets": [{"namespace": namespace, "name": "a", "for": "gateway", "from": {"secret": client_secret}}]}},
            "EKU_NO_SERVERAUTH",
        ),
        "bad name": (
            {MODULE: {"secrets": [{"namespace": namespace, "name": "a", "issue": {"ca": ca, "names": ["a;b"]}}]}},
            "ENTRY_INVALID",
        ),
        "export of nothing": ({EXPORT: {"exports": [{"secret": {**ca, "name": "no"}, "key": f"{folder}/k"}]}}, "SECRET_MISSING"),
        "export without key": ({EXPORT: {"exports": [{"secret": {**ca, "name": "nic-ca"}, "key": f"{folder}/k"}]}}, "PART_MISSING"),
        "export to a loose folder": ({EXPORT: {"exports": [{"secret": ca, "key": f"{loose}/k"}]}}, "FOLDER_UNSAFE"),
        "export for all to read": ({EXPORT: {"exports": [{"secret": ca, "key": f"{folder}/k", "mode": "0644"}]}}, "EXPORT_INVALID"),
        "export to an unknown group": (
            {EXPORT: {"exports": [{"secret": ca, "key": f"{folder}/new/k", "group": "nobody-here"}]}},
            "GROUP_MISSING",
        ),
    }
    run = play([{"name": name, "ignore_errors": True, **task} for name, (task, _code) in bad.items()])
    for name, (_task, code) in bad.items():
        result = run.one(name)
        assert result.get("failed"), name
        assert result["error"]["code"] == code, (name, result)
        assert result["msg"].endswith(".")
    assert snapshot(client, namespace, folder) == before


def test_the_shipped_roles_are_enough_and_needed(client: Client, namespace: str, folder: Path, play: Player) -> None:
    client.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"namespace": namespace, "name": "edgemesh"}})
    secrets_task, export_task = tasks(namespace, folder)
    user = {"impersonate_user": f"system:serviceaccount:{namespace}:edgemesh"}
    secrets_task[MODULE].update(user)
    export_task[EXPORT].update(user)
    export_task[EXPORT]["exports"].pop()  # the Role for the export lists edge-ca and edge-client
    refused = play([{**each, "ignore_errors": True} for each in (secrets_task, export_task)])
    for task in ("secrets", "export"):
        error = refused.one(task)["error"]
        assert {each["status"] for each in error["errors"]} == {403}, error
        assert error["code"] == "FORBIDDEN"
        assert "kind: Role" in str(error["errors"][0])
    for task, name in ((secrets_task, "tls_secret"), (export_task, "tls_secret_export")):
        if name == "tls_secret_export":
            for kind in ("RoleBinding", "Role"):
                client.delete(kind, "edgemesh-tls-secret", namespace)
        for manifest in yaml.safe_load((ROOT / f"docs/rbac/{name}.yaml").read_text())["items"]:
            manifest["metadata"]["namespace"] = namespace
            for subject in manifest.get("subjects", []):
                subject["namespace"] = namespace
            client.create(manifest)
        run = play([task])
        assert run.code == 0, run.printed
    removed = play([{"name": "no longer", MODULE: {"secrets": wanted(namespace), "state": "absent", **user}}])
    assert {each["status"] for each in removed.one("no longer")["error"]["errors"]} == {403}


def test_a_ca_of_community_crypto_is_taken_and_its_modules_agree_with_our_facts(
    client: Client, namespace: str, folder: Path, play: Player
) -> None:
    """A user's own file-based PKI works as input, and the independent judge of what we issue."""
    own = [
        {"name": "key", "community.crypto.openssl_privatekey": {"path": f"{folder}/ca.key", "type": "RSA", "size": 2048}},
        {
            "name": "csr",
            "community.crypto.openssl_csr": {
                "path": f"{folder}/ca.csr",
                "privatekey_path": f"{folder}/ca.key",
                "common_name": "Own CA",
                "basic_constraints": ["CA:TRUE"],
                "basic_constraints_critical": True,
                "key_usage": ["keyCertSign", "cRLSign"],
                "key_usage_critical": True,
                "use_common_name_for_san": False,
            },
        },
        {
            "name": "ca",
            "community.crypto.x509_certificate": {
                "path": f"{folder}/ca.crt",
                "csr_path": f"{folder}/ca.csr",
                "privatekey_path": f"{folder}/ca.key",
                "provider": "selfsigned",
            },
        },
    ]
    ca = {"namespace": namespace, "name": "own-ca"}
    leaves = [
        {
            "namespace": namespace,
            "name": f"leaf-{usage}",
            "issue": {"ca": ca, "usage": usage, "names": ["a.example.com", "192.0.2.1", "spiffe://td/x"]},
        }
        for usage in ("server", "client")
    ]
    deliver = [
        {
            "name": "secrets",
            MODULE: {
                "secrets": [{**ca, "for": "ca", "from": {"files": {"certificate": f"{folder}/ca.crt", "key": f"{folder}/ca.key"}}}, *leaves]
            },
        },
        {
            "name": "export",
            EXPORT: {
                "exports": [
                    {"secret": {"namespace": namespace, "name": "leaf-server"}, "cert": f"{folder}/x/crt", "key": f"{folder}/x/key"},
                    {"secret": ca, "ca": f"{folder}/x/ca"},
                ]
            },
        },
    ]
    judge = [
        {"name": "info", "community.crypto.x509_certificate_info": {"path": f"{folder}/x/crt"}},
        {"name": "key info", "community.crypto.openssl_privatekey_info": {"path": f"{folder}/x/key"}},
        {
            "name": "chain",
            "community.crypto.certificate_complete_chain": {
                "input_chain": "{{ lookup('file', '" + f"{folder}/x/crt" + "') }}",
                "root_certificates": [f"{folder}/x/ca"],
            },
        },
    ]
    run = play([*own, *deliver, *judge])
    assert run.code == 0, run.printed
    ours, info, key = run.one("secrets")["results"][1]["certificate"], run.one("info"), run.one("key info")
    assert info["subject_alt_name"] == ours["sans"]
    assert info["subject"]["commonName"] == ours["common_name"] == "a.example.com"
    assert info["fingerprints"]["sha256"].replace(":", "") == ours["sha256"]
    assert info["public_key_fingerprints"]["sha256"].replace(":", "") == ours["spki_sha256"]
    assert key["public_key_fingerprints"] == info["public_key_fingerprints"]
    assert info["extended_key_usage"] == ["TLS Web Server Authentication"]
    assert info["extended_key_usage_critical"] is False
    assert info["basic_constraints"] == ["CA:FALSE"]
    assert info["key_usage"] == ["Digital Signature"]
    assert (info["key_usage_critical"], info["basic_constraints_critical"]) == (True, True)
    assert f"{int(info['serial_number']):x}" == ours["serial"]
    assert info["not_after"].rstrip("Z") == ours["not_after"].translate(str.maketrans("", "", "-:TZ"))
    assert info["authority_key_identifier"].replace(":", "") == ours["authority_key_id"]
    assert run.one("chain")["complete_chain"][-1].strip() == (folder / "x/ca").read_text().strip()
    assert not play(deliver).one("secrets")["changed"]


def test_a_missing_library_is_said_in_words(namespace: str, folder: Path, play: Player) -> None:
    (folder / "OpenSSL").mkdir()
    (folder / "OpenSSL/__init__.py").write_text("raise ImportError('none', name='OpenSSL')\n")
    pair = leaf(root())
    pem = {"certificate": pair.pem, "key": pair.key_pem(), "ca": pair.pem}
    run = play([{"name": "a", MODULE: {"secrets": [{"namespace": namespace, "name": "a", "from": {"pem": pem}}]}}], PYTHONPATH=str(folder))
    assert run.one("a")["error"]["code"] == "LIBRARY_MISSING", run.printed
    assert "pip install pyOpenSSL" in run.one("a")["msg"]


def test_string_data_is_no_difference(client: Client, namespace: str, play: Player) -> None:
    """What a user put there with stringData is the same to us as data."""
    pair = leaf(root())
    task = [
        {
            "name": "a",
            MODULE: {"secrets": [{"namespace": namespace, "name": "a", "from": {"pem": {"certificate": pair.pem, "key": pair.key_pem()}}}]},
        }
    ]
    assert play(task).one("a")["changed"]
    there = client.get("Secret", "a", namespace)
    assert there is not None
    manifest = {key: there[key] for key in ("apiVersion", "kind", "type")}
    manifest["metadata"] = {
        key: there["metadata"][key] for key in ("name", "namespace", "labels", "annotations", "resourceVersion") if key in there["metadata"]
    }
    client.replace({**manifest, "stringData": {name: base64.b64decode(value).decode() for name, value in there["data"].items()}})
    assert not play(task).one("a")["changed"]
