# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs a module in all its states in one way, and looks where its keys went."""

from __future__ import annotations

import base64
import json
import os
import secrets
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from plugins.module_utils._kube.client import Client
from tests.integration.tls_secret import own_sshd
from tests.integration.tls_secret.leak_subjects import ACTION_ALONE, IN_PROCESS, POISON, SUBJECTS, Scene, States, kubeconfigs
from tests.integration.tls_secret.leaks import pieces
from tests.integration.tls_secret.watch import Files
from tests.unit.x509.pki import Pair, leaf, rsa_key

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


class Stage:
    """Runs a module in all its states in one way, and looks where its keys went."""

    def __init__(self, client: Client, namespace: str, kubeconfig: Path, sshd: own_sshd.Sshd, ca: Pair, ports: tuple[int, int]) -> None:
        self.client, self.namespace, self.kubeconfig, self.sshd, self.ca = client, namespace, kubeconfig, sshd, ca
        self.tls_port, self.silent_port = ports
        user = kubeconfigs(kubeconfig, 1)["kubeconfig"]["users"][0]["user"]
        #: the administrator's key, which other tests may have in files of theirs
        self.known = {base64.b64decode(user["client-key-data"]).decode()} if "client-key-data" in user else set()
        #: every key that was anywhere in these plays
        self.keys = set(self.known)

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
        scene = Scene(self.namespace, name, folder, way.transport == "local", way.pipelining, SOAK, self.tls_port, self.silent_port)
        self._furnish(scene, pairs, owner)
        states = states_of(scene)
        with Files(*(folder / each for each in ("remote", "home", "tmp", "async", "facts"))) as watch:
            run = self._play(way, scene, states, user)
        keys = {pair.key_pem() for pair in pairs.values()} | self._issued(scene) | self.keys
        self.keys |= keys
        printed = run.stdout + run.stderr
        found = [f"a key was printed after {near}" for near in in_front(printed, pieces(keys, printed))]
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
        given = way.module in ("tls_secret", "tls_secret_export", "k8s_objects") or (
            self.known and way.module not in ("edge_probe", "nginx_config", "proof_probe")
        )
        if way.module in ACTION_ALONE or (way.transport == "local" and way.module in IN_PROCESS):
            # but for the task in the background, which is another process
            found += [f"{each.path} had a key in it, although it was all one process" for each in holding if not SOAK]
        elif given and not way.pipelining and not holding:
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
        if scene.name.startswith(("tls-secret-export", "tls-secret-info")):
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
            json.dumps(
                [
                    {
                        "hosts": "all",
                        "gather_facts": False,
                        "environment": {"TMPDIR": str(folder / "tmp")},
                        "tasks": [*registered, {"name": "cache", **cached}],
                    }
                ]
            )
        )
        verbose = [f"-{'v' * way.verbosity}"] if way.verbosity else []
        return subprocess.run(
            ["ansible-playbook", "-i", str(folder / "inventory.json"), *verbose, "-e", f"@{folder}/vars.json", str(folder / "play.json")],
            env={
                **os.environ,
                **({"PYTHONPATH": str(folder / "poison")} if scene.local else {}),
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


def in_front(text: str, found: list[str]) -> set[str]:
    """What stands in front of the first pieces, to find the place."""
    return {text[max(0, text.index(piece) - 80) : text.index(piece)].replace("\n", " ") for piece in found[:3]}
