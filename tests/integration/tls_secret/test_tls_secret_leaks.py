"""No private key in any output, log or command line: every state of both modules, at the highest verbosity, by SSH and locally."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from plugins.module_utils._kube.client import Client
from tests.integration.tls_secret.conftest import Player
from tests.integration.tls_secret.leaks import CommandLines, SystemLog, forms, leaks
from tests.unit.x509.pki import leaf, root, rsa_key

pytestmark = pytest.mark.cluster
MODULE = "edgemesh.nginx_istio.tls_secret"
EXPORT = "edgemesh.nginx_istio.tls_secret_export"


@pytest.fixture
def system_log() -> Iterator[SystemLog]:
    if os.geteuid() != 0:
        pytest.skip("needs root, to listen at /dev/log")
    if SystemLog.PATH.exists():
        pytest.skip("somebody listens at /dev/log already")
    with SystemLog() as log:
        yield log


def canaries() -> dict[str, Any]:
    ca = root("Canary CA")
    return {name: leaf(ca, key=key) for name, key in (("ec", None), ("rsa", rsa_key(2048, 9)))}


def states(namespace: str, folder: str, pairs: dict[str, Any]) -> list[dict[str, Any]]:
    """ok, changed, check, diff and failures of many kinds, of both modules, as tasks of one play."""

    def pem(name: str, certificate: str = "", key: str = "") -> dict[str, Any]:
        return {"pem": {"certificate": certificate or f"{{{{ pem['{name}'].crt }}}}", "key": key or f"{{{{ pem['{name}'].key }}}}"}}

    def secret(name: str, **more: Any) -> dict[str, Any]:
        return {"namespace": namespace, "name": name, **more}

    deliver = {MODULE: {"secrets": [secret(name, **{"from": pem(name)}) for name in pairs]}, "delegate_to": "localhost"}
    issue = {MODULE: {"secrets": [secret("ca", issue={"usage": "ca"}), secret("leaf", issue={"ca": secret("ca"), "names": ["a"]})]}}
    names = [*pairs, "leaf", "ca"]
    export = {
        EXPORT: {
            "exports": [{"secret": secret(name), "cert": f"{folder}/{name}/crt", "key": f"{folder}/{name}/key"} for name in names],
        }
    }
    wrong = {
        "key of another": pem("ec", key="{{ pem['rsa'].key }}"),
        "key cut off": pem("ec", key="{{ pem['ec'].key[:120] }}"),
        "key in the chain": pem("ec", certificate="{{ pem['ec'].crt ~ pem['ec'].key }}"),
        "key as the certificate": pem("ec", certificate="{{ pem['ec'].key }}"),
        "key on one line": pem("ec", key="{{ pem['ec'].key | replace('\n', ' ') }}"),
        "key encoded once more": pem("ec", key="{{ pem['ec'].key | b64encode }}"),
    }
    local = {"delegate_to": "localhost"}
    tasks: list[dict[str, Any]] = [
        {"name": "check", **deliver, "check_mode": True, "diff": True},
        {"name": "changed", **deliver, "diff": True},
        {"name": "ok", **deliver, "diff": True},
        {"name": "issued", **issue, **local, "diff": True},
        *(
            {"name": name, MODULE: {"secrets": [secret("bad", **{"from": source})]}, **local, "ignore_errors": True}
            for name, source in wrong.items()
        ),
        {
            "name": "wrong option",
            MODULE: {"secrets": [secret("bad", **{"from": pem("ec"), "for": "nobody"})]},
            **local,
            "ignore_errors": True,
        },
        {"name": "unknown option", MODULE: {"secrets": [secret("bad", **{"from": {**pem("ec"), "x": 1}})]}, **local, "ignore_errors": True},
        {
            "name": "no API",
            MODULE: {"secrets": [secret("bad", **{"from": pem("ec")})], "host": "https://127.0.0.1:1", "api_key": "x", "timeout": 2},
            **local,
            "environment": {"K8S_AUTH_KUBECONFIG": ""},
            "ignore_errors": True,
        },
        {
            "name": "no namespace",
            MODULE: {"secrets": [{"namespace": "edgemesh-test-none", "name": "a", "from": pem("ec")}]},
            **local,
            "ignore_errors": True,
        },
        {"name": "export check", **export, "check_mode": True, "diff": True},
        {"name": "export", **export, "diff": True},
        {"name": "export ok", **export, "diff": True},
        {"name": "lost", "ansible.builtin.file": {"path": f"{folder}/ec/key", "state": "absent"}},
        {"name": "export fails", EXPORT: {"exports": [{**export[EXPORT]["exports"][0], "owner": "nobody-here"}]}, "ignore_errors": True},
        {"name": "export fails too", EXPORT: {"exports": [{"secret": secret("ec"), "key": "/proc/key"}]}, "ignore_errors": True},
        {"name": "export gone", EXPORT: {**export[EXPORT], "state": "absent"}, "diff": True},
        {"name": "gone", MODULE: {"secrets": [secret(name) for name in names], "state": "absent"}, **local, "diff": True},
    ]
    return tasks


FAIL = 6 + 6


def keys_of(client: Client, namespace: str) -> list[str]:
    return [
        base64.b64decode(each["data"]["tls.key"]).decode()
        for each in client.list("Secret", namespace)[0]
        if "tls.key" in each.get("data", {})
    ]


def prepare(play: Player, pairs: dict[str, Any]) -> str:
    """The keys come by a file of variables: what is given on a command line is the user's own doing."""
    variables = play.folder / "vars.json"
    variables.write_text(json.dumps({"pem": {name: {"crt": pair.pem, "key": pair.key_pem()} for name, pair in pairs.items()}}))
    return f"@{variables}"


def search(text: str, keys: list[str], where: str) -> None:
    for key in keys:
        assert not leaks(key, text), where


@pytest.mark.parametrize("as_json", [False, True], ids=["default callback", "JSON callback"])
def test_locally(as_json: bool, client: Client, namespace: str, folder: Path, play: Player, system_log: SystemLog) -> None:
    pairs = canaries()
    tasks = states(namespace, str(folder / "tls"), pairs)
    extra = prepare(play, pairs)
    with CommandLines() as commands:
        # the last two tasks remove everything: before that, the keys made by the modules are read from the cluster
        run = play(tasks[:-2], "-vvvv", "-e", extra, as_json=as_json)
        keys = [*(pair.key_pem() for pair in pairs.values()), *keys_of(client, namespace)]
        run_away = play(tasks[-2:], "-vvvv", "-e", extra, as_json=as_json)
    assert run.code == run_away.code == 0, run.printed
    assert len(set(keys)) >= 4
    if as_json:
        failed = [name for name in run.tasks if run.one(name).get("failed")]
        assert len(failed) == FAIL, failed
        for name in failed:
            assert "unexpected" not in run.one(name)["msg"], (name, run.one(name)["msg"])
        assert [run.one(name)["changed"] for name in ("check", "changed", "ok", "export check", "export", "export ok")] == [
            True,
            True,
            False,
        ] * 2
    search(run.printed + run_away.printed, keys, "printed")
    search("\n".join(commands.seen), keys, "command lines")
    assert "Invoked with" in system_log.text, "the log was not captured"
    search(system_log.text, keys, "system log")
    for left in (Path.home() / ".ansible/tmp").rglob("*"):
        if left.is_file():
            search(left.read_text(errors="replace"), keys, str(left))


@pytest.mark.lab
@pytest.mark.vms
@pytest.mark.parametrize("pipelining", ["true", "false"])
def test_by_ssh(pipelining: str, client: Client, namespace: str, play: Player, vm: tuple[str, str]) -> None:
    inventory, host = vm
    pairs = canaries()
    folder = f"/etc/{namespace}"
    tasks = [{"become": True, **each} for each in states(namespace, folder, pairs)]
    for each in tasks:
        if each.get("delegate_to"):
            each["become"] = False
    extra = prepare(play, pairs)
    options = ("-vvvv", "-e", extra)
    with CommandLines() as commands:
        run = play(tasks[:-2], *options, hosts=host, inventory=inventory, as_json=False, ANSIBLE_PIPELINING=pipelining)
        keys = [*(pair.key_pem() for pair in pairs.values()), *keys_of(client, namespace)]
        run_away = play(tasks[-2:], *options, hosts=host, inventory=inventory, as_json=False, ANSIBLE_PIPELINING=pipelining)
    assert run.code == run_away.code == 0, run.printed
    assert len(set(keys)) >= 4
    search(run.printed + run_away.printed, keys, "printed")
    search("\n".join(commands.seen), keys, "command lines")


def test_the_search_finds_a_leak(play: Player, folder: Path, system_log: SystemLog) -> None:
    """Pointed at modules that do leak, it says so: printed, in the system log, on a command line."""
    pairs = canaries()
    key = pairs["ec"].key_pem()
    extra = prepare(play, pairs)
    tasks = [
        {"name": "print", "ansible.builtin.debug": {"var": "pem"}},
        {"name": "encoded", "ansible.builtin.debug": {"msg": "{{ pem['ec'].key | b64encode }}"}},
        {"name": "log", "ansible.builtin.lineinfile": {"path": f"{folder}/x", "create": True, "line": "{{ pem['ec'].key }}"}},
        {"name": "command line", "ansible.builtin.command": {"argv": ["sh", "-c", "sleep 0.5", "{{ pem['ec'].key }}"]}},
    ]
    with CommandLines() as commands:
        run = play(tasks, "-v", "-e", extra, as_json=False)
    assert run.code == 0
    assert leaks(key, run.printed)
    assert leaks(key, system_log.text)
    assert leaks(key, "\n".join(commands.seen))


@pytest.mark.parametrize("change", ["plain", "lines", "base64", "shifted", "urlsafe", "hex", "HEX", "escaped", "cut"])
def test_every_form_is_found(change: str) -> None:
    key = canaries()["rsa"].key_pem()
    text = {
        "plain": key,
        "lines": " ".join(key.split()),
        "base64": base64.b64encode(key.encode()).decode(),
        "shifted": base64.b64encode(b"x" + key.encode()).decode(),
        "urlsafe": base64.urlsafe_b64encode(key.strip().encode()).decode(),
        "hex": key.encode().hex(),
        "HEX": key.encode().hex().upper(),
        "escaped": repr(key),
        "cut": key[200:300],
    }[change]
    assert leaks(key, f"before {text} after")
    assert not leaks(canaries()["ec"].key_pem(), text)
    assert all(len(each) == 40 for each in forms(key))
