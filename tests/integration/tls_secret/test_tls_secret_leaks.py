"""No private key in any output, log, cache, command line or file that is not for it, whatever a task does and however it ends."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import secrets
import shutil
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import pytest

from plugins.module_utils._kube.client import Client
from tests.integration.tls_secret import own_sshd
from tests.integration.tls_secret.leak_subjects import POISON, SUBJECTS, Scene, States, kubeconfigs
from tests.integration.tls_secret.leaks import leaks, pieces
from tests.integration.tls_secret.watch import CommandLines, Files, SystemLog
from tests.unit.x509.pki import Pair, leaf, root, rsa_key

pytestmark = pytest.mark.cluster
SOAK = bool(os.environ.get("EDGEMESH_SOAK"))


@dataclass(frozen=True)
class Way:
    """How a module is run."""

    module: str
    transport: str
    pipelining: bool
    verbosity: int

    def __str__(self) -> str:
        return f"{self.module}, {self.transport}, {'' if self.pipelining else 'no '}pipelining, -v x {self.verbosity}"


#: each module, both transports, both settings of pipelining; what prints most, and what users see
SHORT = (
    Way("tls_secret", "ssh", False, 4),
    Way("tls_secret_export", "ssh", True, 4),
    Way("tls_secret_export", "local", False, 0),
    Way("k8s_objects", "local", True, 4),
    Way("nginx_config", "local", False, 4),
    Way("edge_probe", "ssh", False, 4),
    Way("gateway_log_info", "ssh", True, 4),
    Way("node_port_info", "local", False, 4),
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


class Stage:
    """Runs a module in all its states in one way, and looks where its keys went."""

    def __init__(self, client: Client, namespace: str, kubeconfig: Path, sshd: own_sshd.Sshd, ca: Pair, ports: tuple[int, int]) -> None:
        self.client, self.namespace, self.kubeconfig, self.sshd, self.ca = client, namespace, kubeconfig, sshd, ca
        self.tls_port, self.silent_port = ports
        #: every key that was anywhere in these plays
        self.keys: set[str] = set()
        user = kubeconfigs(kubeconfig, 1)["kubeconfig"]["users"][0]["user"]
        if "client-key-data" in user:
            self.keys.add(base64.b64decode(user["client-key-data"]).decode())

    def problems(self, way: Way) -> list[str]:
        """What is wrong with how it went; [] = nothing."""
        states_of, ordinary = SUBJECTS[way.module]
        user = own_sshd.USER if ordinary and way.transport == "ssh" else "root"
        owner = own_sshd.UID if user != "root" else 0
        name = f"{way.module.replace('_', '-')}-{secrets.token_hex(3)}"
        folder = (self.sshd.home if owner else self.sshd.base) / name
        pairs = {
            "canary": leaf(self.ca, eku=["server", "client"]),
            "other": leaf(self.ca, key=rsa_key(2048, 9), eku=["server", "client"]),
        }
        scene = Scene(self.namespace, name, folder, way.pipelining, SOAK, self.tls_port, self.silent_port)
        self._furnish(scene, pairs, owner)
        states = states_of(scene)
        with Files(*(folder / each for each in ("remote", "home", "tmp", "async", "facts"))) as watch:
            run = self._play(way, scene, states, user)
        keys = {pair.key_pem() for pair in pairs.values()} | self._issued(scene) | self.keys
        self.keys |= keys
        printed = run.stdout + run.stderr
        found = [f"a key was printed after {near}" for near in _before(printed, pieces(keys, printed))]
        found += self._ends(states, run.stdout)
        left = watch.left()
        holding = [each for each in watch.seen.values() if pieces(keys, each.text)]
        for each in holding:
            if each in left:
                found.append(f"{each.path} is left with a key in it")
            if way.pipelining:
                found.append(f"{each.path} had a key in it, although pipelining is on")
            if each.folder_mode != 0o700 or each.folder_owner not in (0, owner):
                found.append(f"{each.path} had a key in it in a folder with mode {each.folder_mode:o} of user {each.folder_owner}")
        if not way.pipelining and way.module in ("tls_secret", "tls_secret_export", "k8s_objects") and not holding:
            found.append("no file with a key was seen while it ran, so they were not watched")
        shutil.rmtree(folder)
        return [f"{way}: {each}" for each in found]

    def _furnish(self, scene: Scene, pairs: dict[str, Pair], owner: int) -> None:
        """Folders and files of the play, and Secrets for the export."""
        for each in ("", "poison", "nginx/conf.d", "tmp", "home", "remote", "async", "facts"):
            (scene.folder / each).mkdir(parents=True, mode=0o700)
        canary, other = pairs["canary"], pairs["other"]
        files = {
            "key": canary.key_pem(),
            "crt": canary.pem,
            "other.key": other.key_pem(),
            "ca": self.ca.pem,
            "poison/sitecustomize.py": POISON,
        }
        paths = f"pid {scene.folder}/nginx/pid; error_log {scene.folder}/nginx/log;"
        main = f"{paths} events {{}} http {{ access_log off; include conf.d/*.conf; }}"
        for name, text in {**files, "nginx/nginx.conf": main}.items():
            (scene.folder / name).write_text(text)
            (scene.folder / name).chmod(0o600)
        variables = {name: {"crt": pair.pem, "key": pair.key_pem()} for name, pair in pairs.items()}
        (scene.folder / "vars.json").write_text(json.dumps({**variables, **kubeconfigs(self.kubeconfig, self.silent_port)}))
        for path in (scene.folder, *scene.folder.rglob("*")):
            os.chown(path, owner, owner)
        if scene.name.startswith("tls-secret-export"):
            made = {"canary": (canary, canary.key_pem()), "other": (other, other.key_pem()), "bad": (canary, other.key_pem())}
            for name, (pair, key) in {**made, "junk": (canary, canary.key_pem()[:150])}.items():
                metadata = scene.secret(name)
                self.client.create(
                    {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"tls.crt": pair.pem, "tls.key": key}}
                )

    def _play(self, way: Way, scene: Scene, states: States, user: str) -> subprocess.CompletedProcess[str]:
        folder = scene.folder
        host = {
            "ansible_remote_tmp": f"{folder}/remote",
            "ansible_async_dir": f"{folder}/async",
            "ansible_python_interpreter": sys.executable,
        }
        if way.transport == "ssh":
            host |= self.sshd.variables(user)
            if user != "root":
                host["ansible_python_interpreter"] = "/usr/bin/python3"
        else:
            host["ansible_connection"] = "local"
        registered = [{**task, "register": f"r{number}"} for number, task in enumerate(states.tasks)]
        cached = {"set_fact": {"seen": f"{{{{ [{', '.join(each['register'] for each in registered)}] }}}}", "cacheable": True}}
        (folder / "inventory.json").write_text(json.dumps({"all": {"hosts": {"canary-host": host}}}))
        (folder / "play.json").write_text(
            json.dumps([{"hosts": "all", "gather_facts": False, "tasks": [*registered, {"name": "cache", **cached}]}])
        )
        verbose = [f"-{'v' * way.verbosity}"] if way.verbosity else []
        return subprocess.run(
            ["ansible-playbook", "-i", str(folder / "inventory.json"), *verbose, "-e", f"@{folder}/vars.json", str(folder / "play.json")],
            env={
                **os.environ,
                "ANSIBLE_HOME": str(folder / "home"),
                "TMPDIR": str(folder / "tmp"),
                "ANSIBLE_PIPELINING": str(way.pipelining),
                "ANSIBLE_CACHE_PLUGIN": "ansible.builtin.jsonfile",
                "ANSIBLE_CACHE_PLUGIN_CONNECTION": str(folder / "facts"),
                "ANSIBLE_CALLBACK_PLUGINS": str(Path(__file__).with_name("callback")),
                "ANSIBLE_CALLBACKS_ENABLED": "json_report",
                "ANSIBLE_DISPLAY_TRACEBACK": "always",
                "ANSIBLE_NOCOLOR": "1",
                "ANSIBLE_LOCALHOST_WARNING": "false",
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )

    def _issued(self, scene: Scene) -> set[str]:
        """Keys that the module made itself."""
        mine = [each for each in self.client.list("Secret", self.namespace)[0] if each["metadata"]["name"].startswith(f"{scene.name}-")]
        texts = [base64.b64decode(each["data"]["tls.key"]).decode() for each in mine if "tls.key" in each.get("data", {})]
        return {text for text in texts if text.rstrip().endswith("-----END PRIVATE KEY-----")}

    def _ends(self, states: States, stdout: str) -> list[str]:
        """Tasks that did not end as they should: then it would not be their states that were searched."""
        start = stdout.find('\n{\n    "custom_stats"')
        if start < 0:
            return [f"no report: {stdout[-1500:]}"]
        (play,) = json.JSONDecoder().raw_decode(stdout[start + 1 :])[0]["plays"]
        results = {each["task"]["name"]: each["hosts"]["canary-host"] for each in play["tasks"]}
        wrong = []
        for name, wanted in states.expected.items():
            end, said = wanted.split(":", 1)
            result = results.get(name, {"msg": "it was not reached"})
            really = "failed" if result.get("failed") or name not in results else "changed" if result.get("changed") else "ok"
            message = str(result.get("msg", ""))
            if really != end or said not in message or ("defect" in message and name != "exception"):
                wrong.append(f"{name} ended {really}, not {wanted}: {message[:300]}")
        return wrong


def _before(text: str, found: list[str]) -> set[str]:
    """What stands in front of the first pieces, to find the place."""
    return {text[max(0, text.index(piece) - 80) : text.index(piece)].replace("\n", " ") for piece in found[:3]}


@pytest.fixture
def stage(client: Client, namespace: str, kubeconfig: Path, sshd: own_sshd.Sshd, ca: Pair, tls_port: int, silent_port: int) -> Stage:
    return Stage(client, namespace, kubeconfig, sshd, ca, (tls_port, silent_port))


def test_no_module_leaks_a_key(stage: Stage, system_log: SystemLog) -> None:
    """In every state; `soak`: in all ways there are."""
    ways = FULL if SOAK else SHORT
    before = len(system_log.text)
    with CommandLines() as commands, ThreadPoolExecutor(2) as pool:
        problems = [problem for found in pool.map(stage.problems, ways) for problem in found]
    assert not commands.lost
    assert commands.started > 10 * len(ways), "programs were not seen"
    assert system_log.text.count("Invoked with") > len(ways), "the log was not captured"
    assert len(stage.keys) > len(ways)
    for where, text in (("command lines", commands.text), ("system log", system_log.text[before:])):
        problems += [f"a key is in the {where} after {near}" for near in _before(text, pieces(stage.keys, text))]
    print(f"{len(ways)} plays, {len(stage.keys)} keys, {commands.started} programs")
    assert not problems, "\n".join(problems)


def leaky(scene: Scene) -> States:
    """Modules of Ansible's own, which know nothing of keys."""
    states = States(scene, "none")
    states.work("printed", "debug", {"var": "canary"})
    states.work("encoded", "debug", {"msg": "{{ canary.key | b64encode }}"})
    states.work("logged", "lineinfile", {"path": f"{scene.folder}/x", "create": True, "mode": "0600", "line": "{{ canary.key }}"})
    states.work("a folder for all", "file", {"path": f"{scene.folder}/tmp/open", "state": "directory", "mode": "0755"})
    states.work("left", "copy", {"content": "{{ canary.key }}", "dest": f"{scene.folder}/tmp/open/key", "mode": "0600"})
    states.work("command line", "command", {"argv": ["sh", "-c", "true", "{{ canary.key }}"]})
    return states


def test_the_search_finds_a_leak(stage: Stage, system_log: SystemLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pointed at modules that do leak, it says so in every way that it has."""
    monkeypatch.setitem(SUBJECTS, "leaky", (leaky, False))
    before = len(system_log.text)
    with CommandLines() as commands:
        problems = "\n".join(stage.problems(Way("leaky", "local", True, 1)))
    for text in ("was printed", "/open/key is left", "although pipelining is on", "in a folder with mode 755", "/facts/"):
        assert text in problems, text
    assert pieces(stage.keys, system_log.text[before:])
    assert pieces(stage.keys, commands.text)


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
        "gateway_log_info": {"gateways": [], "contains": "x", **kubeconfigs(stage.kubeconfig, 1)},
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
