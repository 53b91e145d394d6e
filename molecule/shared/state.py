# SPDX-License-Identifier: GPL-3.0-or-later
"""The object list of the cluster, and comparing two files of lines: what a scenario leaves behind.

state.py objects KUBECTL KUBECONFIG  > objects.txt
state.py compare BEFORE AFTER
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

# Kubernetes makes and removes these by itself, at its own time.
PASSING = {
    "events",
    "events.events.k8s.io",
    "leases.coordination.k8s.io",
    "endpoints",
    "endpointslices.discovery.k8s.io",
    "ipaddresses.networking.k8s.io",
    "componentstatuses",
}


def objects(kubectl: str, kubeconfig: str) -> list[str]:
    """Every object as ``kind/namespace/name``."""

    def ask(*words: str) -> list[str]:
        command = [kubectl, "--kubeconfig", kubeconfig, *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()

    columns = "custom-columns=KIND:.kind,NAMESPACE:.metadata.namespace,NAME:.metadata.name"
    for attempt in range(5):
        kinds = sorted(set(ask("api-resources", "--verbs=list", "-o", "name", "--cached=false")) - PASSING)
        try:
            lines = ask("get", ",".join(kinds), "-A", "--no-headers", "-o", columns)
            break
        except subprocess.CalledProcessError as error:
            # Another test may have taken the CustomResourceDefinition of one of them away meanwhile.
            if attempt == 4:
                sys.exit(f"kubectl: {error.stderr}")
            time.sleep(1)
    # Other tests, which may run at the same time, keep to namespaces, or to names, that begin so.
    return sorted({"/".join(line.split()) for line in lines if "edgemesh-test-" not in line})


def compare(before: str, after: str) -> int:
    """Prints what came and what went; 1 if anything did."""
    old, new = (set(Path(name).read_text(encoding="utf-8").splitlines()) for name in (before, after))
    for line in sorted(new - old):
        print(f"left behind: {line}")
    for line in sorted(old - new):
        print(f"gone: {line}")
    return 1 if old != new else 0


if __name__ == "__main__":
    if sys.argv[1] == "objects":
        print("\n".join(objects(*sys.argv[2:])))
    else:
        sys.exit(compare(*sys.argv[2:]))
