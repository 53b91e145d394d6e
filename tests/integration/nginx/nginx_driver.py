# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs one transaction on a VM as the module does, with something happening at a step: a kill, or a shell command.

Reads a JSON request from stdin, prints one JSON line: outcome or error, and the steps that were passed.
"""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
from typing import Any

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from plugins.module_utils._errors import EdgeError
from plugins.module_utils._nginx.change.generations import Store
from plugins.module_utils._nginx.change.installation import discover
from plugins.module_utils._nginx.change.parts import files_alone, read
from plugins.module_utils._nginx.change.transaction import Transaction


def main() -> None:
    request: dict[str, Any] = json.load(sys.stdin)
    steps: list[str] = []

    def step(name: str) -> None:
        steps.append(name)
        # the same step may come again in a roll-back: the place is its number
        if len(steps) == request.get("kill_at"):
            os.kill(os.getpid(), signal.SIGKILL)
        for wanted, command in request.get("at", {}).items():
            if wanted == name:
                subprocess.run(
                    ["sh", "-c", command], check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
                )

    nginx = discover(request.get("binary", "nginx"), request.get("main", ""), request.get("prefix", ""))
    conf = nginx.folder if nginx else "/etc/nginx"
    transaction = Transaction(
        store=Store(conf, request.get("name", "edgemesh"), step=step),
        nginx=nginx,
        name=request.get("name", "edgemesh"),
        check=request.get("check", False),
        start=request.get("start", True),
        take_over=request.get("take_over", False),
        timeout=request.get("timeout", 60),
        keep=request.get("keep", 3),
        method=request.get("manager", "auto"),
        material_folder=request.get("material_folder", "/etc/edgemesh/tls"),
    )
    list_name = request.get("list", "default")
    said: dict[str, Any]
    try:
        if request.get("state") == "absent":
            outcome = transaction.absent(list_name, request.get("all_lists", False))
        elif request.get("state") == "rolled_back":
            outcome = transaction.rolled_back(request.get("generation", "previous"), list_name)
        elif "parts" in request:
            site = request.get("default_site", "keep")
            outcome = transaction.present(
                read(list_name, request["parts"], request.get("absent", []), request.get("exclusive", False), site)
            )
        else:
            files = [{"path": path, "content": content} for path, content in request["files"].items()]
            site = request.get("default_site", "keep")
            outcome = transaction.present(files_alone(list_name, files, request.get("depends_on", []), site))
        said = {"outcome": dataclasses.asdict(outcome)}
    except EdgeError as error:
        said = {"error": error.as_result(), "sentence": error.sentence}
    print(json.dumps({**said, "steps": steps}))


main()
