# SPDX-License-Identifier: GPL-3.0-or-later
"""tls_secret_info and tls_secret_export beside kubernetes.core.k8s_info and copy: many Secrets of one namespace, read, and put on one host.

Needs a cluster (KUBECONFIG), kubernetes.core, and root, because the host is an SSH server of its own on this machine. Whole plays are
timed. Ours take all Secrets; the loops take some of them, and what all would take is worked out from that, less what an empty play
takes. From the checkout:

    python -m tests.bench.bench_tls_secrets [Secrets] [in a loop]
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plugins.module_utils._kube.client import Client
from plugins.module_utils._kube.connection import connect
from tests.integration.kube.kube_proxy import Proxy
from tests.integration.kube.kube_rig import temporary_namespace
from tests.integration.secret_info.material import server, tls
from tests.integration.secret_info.own_api import kubeconfig as write_kubeconfig
from tests.integration.tls_secret import own_sshd

INFO, EXPORT = "edgemesh.nginx_istio.tls_secret_info", "edgemesh.nginx_istio.tls_secret_export"
THEIRS, COPY = "kubernetes.core.k8s_info", "ansible.builtin.copy"


@dataclass(frozen=True)
class Figure:
    """A whole play."""

    seconds: float
    requests: int
    #: what the play said: how many Secrets it found fit, or whether it changed anything
    said: Any
    #: Secrets that it handled
    count: int

    def of(self, count: int, empty: float) -> float:
        """What so many Secrets would take."""
        return empty + (self.seconds - empty) * count / self.count


class Bench:
    """The cluster behind a proxy that counts, and the host."""

    def __init__(self, client: Client, namespace: str, folder: Path, host: own_sshd.Sshd) -> None:
        self.client, self.namespace, self.folder, self.host = client, namespace, folder, host
        self.proxy = Proxy(client._transport, lambda _asked: None)
        self.config = folder / "kubeconfig"
        self.config.write_text(json.dumps(write_kubeconfig({"server": self.proxy.url}, {})))
        target = {**host.variables("root"), "ansible_python_interpreter": sys.executable}
        local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
        (folder / "inventory.json").write_text(json.dumps({"all": {"hosts": {"target": target, "controller": local}}}))

    def fill(self, count: int) -> None:
        """So many Secrets, of twenty certificates."""
        pairs = [server(f"shop{number}.example.com") for number in range(20)]
        objects = [tls(self.namespace, f"web{number}", pairs[number % 20], labels={"app": "many"}) for number in range(count)]
        with ThreadPoolExecutor(6) as pool:
            list(pool.map(self.client.create, objects))

    def play(self, count: int, hosts: str, *tasks: dict[str, Any]) -> Figure:
        """:raises RuntimeError: when it failed."""
        said = self.folder / "said"
        last = {
            "name": "say",
            "ansible.builtin.copy": {"content": "{{ [r.changed, r.results | default([]) | selectattr('fit', 'defined') "
                                     "| selectattr('fit') | length] | to_json }}", "dest": str(said), "mode": "0600"},
            "delegate_to": "controller",
        }  # fmt: skip
        registered = [*({**task, "register": "r"} for task in tasks[-1:]), last] if tasks else []
        book = self.folder / "play.json"
        book.write_text(json.dumps([{"hosts": hosts, "gather_facts": False, "tasks": [*tasks[:-1], *registered]}]))
        before, started = len(self.proxy.asked), time.perf_counter()
        command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(self.folder / "inventory.json"), str(book)]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, env={**os.environ, "K8S_AUTH_KUBECONFIG": str(self.config)}
        )
        seconds = time.perf_counter() - started
        print(f"  {time.strftime('%H:%M:%S')} a play with {count} Secrets: {seconds:.1f} s", flush=True)
        if done.returncode:
            raise RuntimeError(done.stdout[-2000:] + done.stderr[-1000:])
        return Figure(seconds, len(self.proxy.asked) - before, json.loads(said.read_text()) if tasks else None, count)

    def files(self) -> dict[str, tuple[int, int]]:
        """Inode and time of every file that was exported."""
        found = ((path, path.stat()) for path in sorted((self.host.base / "ours").rglob("tls.*")))
        return {str(path): (facts.st_ino, facts.st_mtime_ns) for path, facts in found}

    def exports(self, count: int) -> dict[str, Any]:
        """A task of ours."""
        listed = [
            {
                "secret": {"namespace": self.namespace, "name": f"web{number}"},
                "cert": f"{self.host.base}/ours/web{number}/tls.crt",
                "key": f"{self.host.base}/ours/web{number}/tls.key",
            }
            for number in range(count)
        ]
        return {"name": "export", EXPORT: {"exports": listed}}

    def k8s_info(self, names: list[str]) -> dict[str, Any]:
        """A loop of theirs; the keys are in its results, so that it must not log."""
        options = {"api_version": "v1", "kind": "Secret", "namespace": self.namespace, "name": "{{ item }}"}
        return {"name": "read", THEIRS: options, "loop": names, "no_log": True, "register": "read", "delegate_to": "controller"}

    def copy(self) -> dict[str, Any]:
        """What they read, as files of one folder."""
        item = "item[0].resources[0]"
        return {
            "name": "write",
            COPY: {
                "content": f"{{{{ {item}.data[item[1]] | b64decode }}}}",
                "dest": f"{self.host.base}/theirs/{{{{ {item}.metadata.name }}}}.{{{{ item[1] }}}}",
                "mode": "0600",
            },
            "loop": "{{ read.results | product(['tls.crt', 'tls.key']) | list }}",
            "no_log": True,
        }


@contextmanager
def bench(client: Client) -> Iterator[Bench]:
    """Everything that it needs; all gone afterwards."""
    with temporary_namespace(client) as namespace, own_sshd.sshd() as host, tempfile.TemporaryDirectory() as folder:
        made = Bench(client, namespace, Path(folder), host)
        try:
            yield made
        finally:
            made.proxy.close()


def measure(client: Client, count: int, some: int) -> dict[str, Figure]:
    """Figures by what was done; those of the loops only with ``some``.

    :raises RuntimeError: when a play did not do as it should.
    """
    with bench(client) as rig:
        rig.fill(count)
        label = {"select": [{"namespace": rig.namespace, "labels": "app=many"}]}
        found = {
            "info": rig.play(count, "controller", {"name": "look", INFO: label}),
            "export": rig.play(count, "target", rig.exports(count)),
        }
        before = rig.files()
        found["export again"] = rig.play(count, "target", rig.exports(count))
        ends = [found[each].said for each in ("info", "export", "export again")]
        if ends != [[False, count], [True, 0], [False, 0]] or len(before) != 2 * count:
            raise RuntimeError(f"not as it should be: {ends}, {len(before)} files")
        if rig.files() != before:
            raise RuntimeError("the second run rewrote files")
        if some:
            found["empty"] = rig.play(1, "target")
            (rig.host.base / "theirs").mkdir()
            names = [f"web{number}" for number in range(some)]
            options = {"api_version": "v1", "kind": "Secret", "namespace": rig.namespace, "label_selectors": ["app=many"]}
            found["k8s_info by label"] = rig.play(count, "controller", {"name": "look", THEIRS: options, "no_log": True})
            found["k8s_info loop"] = rig.play(some, "controller", rig.k8s_info(names))
            found["k8s_info and copy"] = rig.play(some, "target", rig.k8s_info(names), rig.copy())
            found["k8s_info and copy again"] = rig.play(some, "target", rig.k8s_info(names), rig.copy())
        return found


def report(found: dict[str, Figure], count: int) -> str:
    """A line for each."""
    empty = found["empty"].seconds if "empty" in found else 0.0
    lines = []
    for name, each in found.items():
        all_of_them = f", so {count} in {each.of(count, empty):.0f} s" if each.count not in (1, count) else ""
        lines.append(f"{name:24} {each.count:5} Secrets {each.seconds:7.1f} s {each.requests:6} requests{all_of_them}")
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    count, some = (int(given) for given in [*sys.argv[1:], *("1000", "50")[len(sys.argv) - 1 :]])
    print(report(measure(connect({"timeout": 3600}), count, some), count))


if __name__ == "__main__":
    main()
