# SPDX-License-Identifier: GPL-3.0-or-later
"""The demo on the lab, as its tests see it."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.integration.playbooks import CHECKOUT, INVENTORY, hosts, on_host

#: Our files for the http context as one text, and a text in their place.
READ = "cd /etc/nginx/edgemesh/current && cat $(ls *.conf | grep -vx generation.conf)"
WRITE = (
    "cd /etc/nginx/edgemesh && new=$(mktemp -d generations/by-hand-XXXX) && chmod 755 $new && cp -a current/. $new && "
    "find $new -maxdepth 1 -name '*.conf' ! -name generation.conf -delete && cat > $new/by-hand.conf && ln -sfn $new current"
)

#: Seconds in which what is broken is looked at again, as it might be a change on its way.
PATIENCE = 2


class Demo:
    """The demo's two routes on the lab's VMs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.vms = hosts("edge_nginx")
        self.clients = hosts("clients")
        #: what the demo itself ended in
        self.first: tuple[dict[str, Any], int] = ({}, 0)

    def make(self) -> None:
        """Run the demo's script."""
        first = [f"{os.environ['OLD_VENV']}/bin"] if os.environ.get("OLD_VENV") else []
        env = {**os.environ, "PATH": os.pathsep.join([*first, os.environ["PATH"]]), "ANSIBLE_NOCOLOR": "1"}
        report = CHECKOUT / "proof" / "proof.json"
        report.unlink(missing_ok=True)
        done = subprocess.run(["bash", "demo/run.sh"], cwd=CHECKOUT, env=env, capture_output=True, text=True, check=False)
        assert report.is_file(), done.stdout[-6000:] + done.stderr[-2000:]
        self.first = json.loads(report.read_text(encoding="utf-8")), done.returncode

    def play(self, name: str, *options: str) -> subprocess.CompletedProcess[str]:
        """A playbook of the collection with the demo's variables, as `make demo` runs it."""
        images = '{"demo_app_image": "{{ lab_images.httpbin }}", "verify_probe_image": "{{ lab_images.python }}"}'
        words = ["ansible-playbook", "-i", str(INVENTORY), "-e", "@demo/vars.yml", "-e", images, *options, f"edgemesh.nginx_istio.{name}"]
        return subprocess.run(words, cwd=CHECKOUT, capture_output=True, text=True, check=False, env={**os.environ, "ANSIBLE_NOCOLOR": "1"})

    def prove(self, *options: str) -> tuple[dict[str, Any], int]:
        """The report of a proof of what is there now, and the exit code of the run that made it."""
        (self.folder / "proof.json").unlink(missing_ok=True)
        done = self.play("verify", "-e", f"verify_report_dir={self.folder}", "-e", f"verify_wait_timeout={PATIENCE}", *options)
        report = self.folder / "proof.json"
        assert report.is_file(), done.stdout[-6000:] + done.stderr[-2000:]
        return json.loads(report.read_text(encoding="utf-8")), done.returncode


def configure(vm: str, text: str) -> None:
    """Write our configuration by hand, as a generation beside those of nginx_config."""
    _reload(vm, WRITE, text)


def restore(vm: str, generation: str) -> None:
    """Have nginx serve this generation again, and nothing that was made by hand."""
    _reload(vm, f"cd /etc/nginx/edgemesh && ln -sfn {generation} current && rm -rf generations/by-hand-*")


def _reload(vm: str, change: str, text: str = "") -> None:
    """Change something and reload nginx; ends when the workers of before take no more connections."""
    workers = "ps -o pid=,args= -C nginx | grep 'nginx: worker process$' | sort"
    before = set(on_host(vm, workers).splitlines())
    on_host(vm, f"{change} && nginx -t -q && nginx -s reload", text)
    for _attempt in range(50):
        now = set(on_host(vm, workers).splitlines())
        if now and not now & before:
            return
        time.sleep(0.2)
    pytest.fail(f"nginx on {vm} keeps its old workers")
