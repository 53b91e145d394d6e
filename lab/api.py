# SPDX-License-Identifier: GPL-3.0-or-later
"""The cluster's API, through kubectl."""

from __future__ import annotations

import json
import time
from pathlib import Path
from string import Template

from plugins.module_utils._errors import EdgeError

from . import build, settings
from .shell import run

MANIFESTS = Path(__file__).parent / "manifests"


def link_programs() -> None:
    """Offer kubectl and its like by name in a folder that users can put on their PATH."""
    settings.BIN.mkdir(parents=True, exist_ok=True)
    for name in ("kubectl", "helm", "istioctl"):
        link = settings.BIN / name
        if not link.is_symlink() or link.readlink() != build.path(name):
            link.unlink(missing_ok=True)
            link.symlink_to(build.path(name))


def kubectl(*words: str, text: str | None = None, timeout: float = 120) -> str:
    """Run kubectl as the lab's administrator."""
    return run([settings.BIN / "kubectl", f"--kubeconfig={settings.KUBECONFIG}", *words], text=text, timeout=timeout)


def apply(manifest: str, seconds: float = 30, **values: str) -> None:
    """Apply one of the lab's manifests.

    :param seconds: for how long to try again when a webhook can't be called: its Service may have its endpoints only now.
    :param values: for the manifest's placeholders.
    """
    text = Template((MANIFESTS / manifest).read_text()).substitute(values)
    deadline = time.monotonic() + seconds
    while True:
        try:
            kubectl("apply", "--server-side", "--force-conflicts", "--field-manager=edgemesh-lab", "-f", "-", text=text)
            return
        except EdgeError as error:
            if "failed calling webhook" not in error.why or time.monotonic() > deadline:
                raise
        time.sleep(0.2)


def running_containers() -> set[str]:
    """Identifiers of the containers that the API shows as running."""
    pods = json.loads(kubectl("get", "pods", "-A", "-o", "json"))["items"]
    kinds = ("containerStatuses", "initContainerStatuses")
    states = [each for pod in pods for kind in kinds for each in pod["status"].get(kind, ())]
    return {each["containerID"].removeprefix("containerd://") for each in states if "running" in each["state"]}


def wait_for_node(seconds: float = 60) -> None:
    """Wait until the node has registered and is ready."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            kubectl("wait", "--for=condition=Ready", f"node/{settings.NODE_NAME}", f"--timeout={seconds:g}s", timeout=seconds + 5)
            return
        except EdgeError as error:
            if "not found" not in error.why.lower() or time.monotonic() > deadline:
                raise
        time.sleep(0.2)


def create_namespace(name: str) -> None:
    """Make a namespace, unless it is there."""
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    kubectl("apply", "--server-side", "--field-manager=edgemesh-lab", "-f", "-", text=json.dumps(namespace))
