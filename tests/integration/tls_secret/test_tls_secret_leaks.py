# SPDX-License-Identifier: GPL-3.0-or-later
"""No private key in any output, log, cache, command line or file that is not for it, whatever a task does and however it ends."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path

import pytest

from plugins.module_utils._kube.client import Client
from tests.figures import FIGURES
from tests.integration.tls_secret import own_sshd
from tests.integration.tls_secret.leak_stage import SOAK, Stage, Way, in_front
from tests.integration.tls_secret.leak_subjects import ACTION_ALONE, SUBJECTS, Scene, States, kubeconfigs
from tests.integration.tls_secret.leaks import forms, leaks, pieces
from tests.integration.tls_secret.watch import CommandLines, SystemLog, changed_since
from tests.unit.x509.pki import Pair, leaf, root, rsa_key

pytestmark = pytest.mark.cluster

#: each module, both transports, both settings of pipelining; what prints most, and what users see
SHORT = (
    Way("tls_secret", "ssh", False, 4),
    Way("tls_secret_export", "ssh", True, 4),
    Way("tls_secret_info", "ssh", False, 3),
    Way("k8s_objects", "local", False, 4),
    Way("nginx_config", "local", True, 4),
    Way("nginx_info", "ssh", False, 4),
    Way("edge_probe", "ssh", False, 4),
    Way("gateway_log_info", "ssh", True, 4),
    Way("node_port_info", "local", False, 0),
    Way("k8s_objects_info", "ssh", False, 4),
    Way("proof_probe", "ssh", True, 4),
    Way("proof_report", "local", True, 4),
    Way("read_routes", "ssh", True, 4),
    Way("edge_diagnose", "ssh", False, 4),
    Way("access_plan", "local", True, 4),
    Way("access_settled", "ssh", True, 4),
    Way("gateway_routes_change", "local", True, 4),
    Way("probe_pod_info", "local", False, 4),
    Way("pod_port_info", "ssh", False, 4),
)
FULL = tuple(Way(*each) for each in product(SUBJECTS, ("ssh", "local"), (True, False), range(5)))


@pytest.fixture(scope="module")
def system_log() -> Iterator[SystemLog]:
    if os.geteuid() != 0:
        pytest.skip("needs root, to listen at /dev/log")
    if SystemLog.somebody_listens():
        pytest.skip("somebody listens at /dev/log already")
    with SystemLog() as log:
        yield log


@pytest.fixture(scope="module")
def sshd() -> Iterator[own_sshd.Sshd]:
    with own_sshd.sshd() as server:
        yield server


@pytest.fixture(scope="module")
def ca() -> Pair:
    return root("Canary CA")


@pytest.fixture(scope="module")
def tls_port(ca: Pair, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A server that demands a client certificate."""
    folder, own = tmp_path_factory.mktemp("server"), leaf(ca)
    for name, text in {"crt": own.pem, "key": own.key_pem(), "ca": ca.pem}.items():
        (folder / name).write_text(text)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "crt", folder / "key")
    context.load_verify_locations(folder / "ca")
    context.verify_mode = ssl.CERT_REQUIRED
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                raw, _peer = listener.accept()
            except OSError:
                return
            raw.settimeout(5)
            with contextlib.suppress(OSError), context.wrap_socket(raw, server_side=True) as peer:
                if peer.recv(65536):
                    peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")

    threading.Thread(target=serve, daemon=True).start()
    yield listener.getsockname()[1]
    listener.close()


@pytest.fixture(scope="module")
def silent_port() -> Iterator[int]:
    """Connections are made, and that is all."""
    with socket.create_server(("127.0.0.1", 0), backlog=500) as listener:
        yield listener.getsockname()[1]


@pytest.fixture
def stage(client: Client, namespace: str, kubeconfig: Path, sshd: own_sshd.Sshd, ca: Pair, tls_port: int, silent_port: int) -> Stage:
    return Stage(client, namespace, kubeconfig, sshd, ca, (tls_port, silent_port))


def test_every_module_is_searched() -> None:
    modules = {each.stem for each in (Path(__file__).parents[3] / "plugins" / "modules").glob("*.py")} - {"__init__"}
    assert set(SUBJECTS) == modules == {way.module for way in SHORT} == {way.module for way in FULL}
    assert {(way.transport, way.pipelining) for way in SHORT} == set(product(("ssh", "local"), (True, False)))


# In all ways there are, or each module in one.
ROUNDS = {module: [way for way in FULL if way.module == module] for module in SUBJECTS} if SOAK else {"one way each": SHORT}


@pytest.mark.parametrize("ways", ROUNDS.values(), ids=ROUNDS)
def test_no_module_leaks_a_key(ways: Sequence[Way], stage: Stage, system_log: SystemLog) -> None:
    """In every state."""
    started = time.time()
    before = len(system_log.text)
    with CommandLines() as commands, ThreadPoolExecutor(2) as pool:
        problems = [problem for found in pool.map(stage.problems, ways) for problem in found]
    assert not commands.lost
    # an action that is all of its module starts no module, which would write to the log
    alone = ACTION_ALONE.issuperset(way.module for way in ways)
    assert commands.started > (2 if alone else 10) * len(ways), "programs were not seen"
    assert alone or system_log.text[before:].count("Invoked with") > len(ways), "the log was not captured"
    assert len(stage.keys) > len(ways)
    for where, text in (("command lines", commands.text), ("system log", system_log.text[before:])):
        problems += [f"a key is in the {where} after {near}" for near in in_front(text, pieces(stage.keys, text))]
    problems += [f"{path} has a key in it" for path, text in changed_since(started) if pieces(stage.keys - stage.known, text)]
    about = ways[0].module if SOAK else "all modules"
    FIGURES.append(f"{about}: {len(ways)} plays, {len(stage.keys)} keys, {commands.started} programs, {len(problems)} problems")
    assert not problems, "\n".join(problems)


def leaky(scene: Scene) -> States:
    """Modules of Ansible's own, which know nothing of keys."""
    states = States(scene, "none")
    states.work("printed", "debug", {"var": "canary"})
    states.work("encoded", "debug", {"msg": "{{ canary.key | b64encode }}"})
    states.work("logged", "lineinfile", {"path": f"{scene.folder}/x", "create": True, "mode": "0600", "line": "{{ canary.key }}"})
    states.work("a folder for all", "file", {"path": f"{scene.folder}/tmp/open", "state": "directory", "mode": "0755"})
    states.work("left", "copy", {"content": "{{ canary.key }}", "dest": f"{scene.folder}/tmp/open/key", "mode": "0600"})
    states.work("forgotten", "copy", {"content": "{{ canary.key }}", "dest": f"/tmp/{scene.name}", "mode": "0600"})
    # long enough to be read on a busy machine
    states.work("command line", "command", {"argv": ["sh", "-c", "sleep 0.3", "{{ canary.key }}"]})
    return states


def test_the_search_finds_a_leak(stage: Stage, system_log: SystemLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pointed at modules that do leak, it says so in every way that it has."""
    monkeypatch.setitem(SUBJECTS, "leaky", (leaky, False))
    before, started = len(system_log.text), time.time()
    with CommandLines() as commands:
        problems = "\n".join(stage.problems(Way("leaky", "local", True, 1)))
    for text in ("was printed", "/open/key is left", "although pipelining is on", "in a folder with mode 755", "/facts/"):
        assert text in problems, text
    assert pieces(stage.keys, system_log.text[before:])
    assert pieces(stage.keys, commands.text)
    forgotten = [path for path, text in changed_since(started) if pieces(stage.keys - stage.known, text)]
    assert len(forgotten) == 1
    forgotten[0].unlink()


@pytest.mark.parametrize(
    "change", ["plain", "lines", "base64", "shifted", "twice-shifted", "urlsafe", "hex", "HEX", "escaped", "cut", "der"]
)
@pytest.mark.parametrize("kind", ["ec", "rsa"])
def test_every_form_is_found(change: str, kind: str, ca: Pair) -> None:
    pair = leaf(ca, key=rsa_key(2048, 9)) if kind == "rsa" else leaf(ca)
    key = pair.key_pem()
    at = 1200 if kind == "rsa" else 75
    text = {
        "plain": key,
        "lines": " ".join(key.split()),
        "base64": base64.b64encode(key.encode()).decode(),
        "shifted": base64.b64encode(b"x" + key.encode()).decode(),
        "twice-shifted": base64.b64encode(b"xy" + key.encode()).decode(),
        "urlsafe": base64.urlsafe_b64encode(key.strip().encode()).decode(),
        "hex": key.encode().hex(),
        "HEX": key.encode().hex().upper(),
        "escaped": repr(key),
        "cut": key.replace("\n", "")[at : at + 40],
        "der": "".join(key.split("\n")[1:-2]),
    }[change]
    assert leaks(key, f"before {text} after")
    assert not leaks(leaf(ca).key_pem(), text)
    assert not leaks(key, pair.pem), "its certificate is no secret"


def test_no_form_is_two_keys(ca: Pair) -> None:
    """What the search takes for a key's is no other's: else it would find by chance what nobody leaked."""
    found = [forms(leaf(ca).key_pem()) for _number in range(100)]
    assert min(len(each) for each in found) > 100
    assert len(frozenset().union(*found)) == sum(len(each) for each in found)


@pytest.mark.parametrize(("pipelining", "kept", "code"), [("false", "false", "BECOME_LEAKS"), ("true", "true", "FILES_KEPT")])
def test_keys_are_not_sent_where_ansible_would_leave_them(stage: Stage, pipelining: str, kept: str, code: str, tmp_path: Path) -> None:
    """To an unprivileged become_user without pipelining, and where files are kept: no module with a key among its arguments runs."""
    pair = leaf(stage.ca)
    secret = {"namespace": stage.namespace, "name": "never"}
    object_ = {"apiVersion": "v1", "kind": "Secret", "metadata": secret, "stringData": {"k": pair.key_pem()}}
    tasks = {
        "tls_secret": {"secrets": [{**secret, "from": {"pem": {"certificate": pair.pem, "key": pair.key_pem()}}}]},
        "tls_secret_export": {"exports": [{"secret": secret, "key": "/var/lib/never"}]},
        "k8s_objects": {"definitions": [object_]},
        "node_port_info": {"services": [], **kubeconfigs(stage.kubeconfig, 1)},
        "k8s_objects_info": {"queries": [], **kubeconfigs(stage.kubeconfig, 1)},
        "gateway_log_info": {"gateways": [], "contains": "x", **kubeconfigs(stage.kubeconfig, 1)},
        "tls_secret_info": {"secrets": [secret], **kubeconfigs(stage.kubeconfig, 1)},
    }
    for each in tasks.values():
        each.pop("silent_kubeconfig", None)
    host = {**stage.sshd.variables("root"), "ansible_python_interpreter": sys.executable, "ansible_become_method": "su"}
    (tmp_path / "inventory.json").write_text(json.dumps({"all": {"hosts": {"canary-host": host}}}))
    play = {"hosts": "all", "gather_facts": False, "become": True, "become_user": own_sshd.USER}
    listed = [{"name": name, f"edgemesh.nginx_istio.{name}": arguments, "ignore_errors": True} for name, arguments in tasks.items()]
    (tmp_path / "play.json").write_text(json.dumps([{**play, "tasks": listed}]))
    run = subprocess.run(
        ["ansible-playbook", "-i", str(tmp_path / "inventory.json"), str(tmp_path / "play.json")],
        env={
            **os.environ,
            "ANSIBLE_PIPELINING": pipelining,
            "ANSIBLE_KEEP_REMOTE_FILES": kept,
            "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json",
            "K8S_AUTH_KUBECONFIG": str(stage.kubeconfig),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    (played,) = json.loads(run.stdout[run.stdout.index("{") :])["plays"]
    codes = {each["task"]["name"]: each["hosts"]["canary-host"].get("error", {}).get("code") for each in played["tasks"]}
    assert codes == dict.fromkeys(tasks, code), run.stdout
    assert not pieces([pair.key_pem()], run.stdout + run.stderr)
