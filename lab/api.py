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


def apply(manifest: str, **values: str) -> None:
    """Apply one of the lab's manifests with its placeholders filled."""
    text = Template((MANIFESTS / manifest).read_text()).substitute(values)
    kubectl("apply", "--server-side", "--force-conflicts", "--field-manager=edgemesh-lab", "-f", "-", text=text)


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
