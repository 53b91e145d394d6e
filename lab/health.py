# SPDX-License-Identifier: GPL-3.0-or-later
"""Is the lab well? Part by part, as seen from outside of the parts."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from plugins.module_utils._errors import EdgeError

from . import api, cluster, istio, lock, network, settings, vms
from .shell import run

NAMESPACES = ("kube-system", istio.NAMESPACE, "lab-echo")
Part = tuple[str, bool, str]  # name, whether it is well, and why not (or a few words)


def parts(with_vms: bool = True) -> list[Part]:
    """Every part, beginning with what the others stand on."""
    why = network.status()
    found: list[Part] = [("network", not why, why), *cluster.status()]
    answers = {name: well for name, well, _ in found}["kube-apiserver"]
    for name, look in (("node", node), ("pods", pods), ("proxies", rejected)):
        why = attempt(look) if answers else "unknown: the API server doesn't answer"
        found.append((name, not why, why))
    why = istio.answer()
    found.append(("echo app", not why, why))
    if with_vms:
        found += [(f"VM {name}", well, why) for name, well, why in vms.status()]
    return found


def attempt(look: Callable[[], str]) -> str:
    """What a look finds wrong, or what stopped it."""
    try:
        return look()
    except (EdgeError, OSError) as error:
        return error.why or error.what if isinstance(error, EdgeError) else str(error)


def get(kind: str, *words: str) -> list[dict[str, Any]]:
    """Objects of the cluster."""
    items: list[dict[str, Any]] = json.loads(api.kubectl("get", kind, *words, "--request-timeout=5s", "-o", "json", timeout=20))["items"]
    return items


def node() -> str:
    """Why the node isn't ready, or ""."""
    nodes = get("nodes")
    ready = next((each for node in nodes for each in node["status"]["conditions"] if each["type"] == "Ready"), None)
    return "it hasn't registered" if ready is None else "" if ready["status"] == "True" else ready["message"]


def pods() -> str:
    """Which of the lab's own pods aren't ready and why, or ""."""
    found = []
    for namespace in NAMESPACES:
        listed = get("pods", "-n", namespace)
        if not listed:
            found.append(f"{namespace} has none")
        found += [f"{namespace}/{pod['metadata']['name']}: {why}" for pod in listed if (why := not_ready(pod))]
    return "; ".join(found)


def not_ready(pod: dict[str, Any]) -> str:
    """Why a pod isn't ready, or ""; a pod on its way out doesn't count."""
    if "deletionTimestamp" in pod["metadata"]:
        return ""
    status = pod["status"]
    for container in (*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())):
        waiting = container["state"].get("waiting")
        if waiting and waiting.get("reason") not in ("PodInitializing", "ContainerCreating"):
            return f"container {container['name']}: {waiting.get('reason')} {waiting.get('message', '')}".strip()
    ready: dict[str, Any] = next((each for each in status.get("conditions", ()) if each["type"] == "Ready"), {})
    return "" if ready.get("status") == "True" else ready.get("message") or status.get("phase", "unknown")


def rejected() -> str:
    """Which of the lab's own proxies refuse their configuration: it holds a filter that only Istio's own Envoy has."""
    return refusals(run([settings.BIN / "istioctl", f"--kubeconfig={settings.KUBECONFIG}", "proxy-status", "-v", "1"], timeout=20))


def refusals(table: str) -> str:
    """What `istioctl proxy-status -v 1` marks as refused, of the lab's own namespaces."""
    header, *rows = [re.split(r"\s{2,}", line.strip()) for line in table.splitlines() if line.strip()] or [[]]
    found = []
    for name, *cells in rows:
        refused = [kind for kind, cell in zip(header[1:], cells) if cell.startswith("ERROR")]
        if refused and name.rpartition(".")[2] in NAMESPACES:
            found.append(f"{name} refuses {', '.join(refused)}")
    return "; ".join(found)


def as_json(found: list[Part]) -> str:
    """The same for programs."""
    listed = [{"name": name, "ok": well, "detail": why} for name, well, why in found]
    return json.dumps({"healthy": all(well for _, well, _ in found), "changing": lock.owner(), "parts": listed}, indent=1)
