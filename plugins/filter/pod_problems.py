"""Says in words which pods aren't ready."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..module_utils._plain import plain


def pod_problems(pods: Any, events: Any = ()) -> list[str]:
    """A sentence for each pod that isn't ready, and for pods that could not even be made; see pod_problems.yml."""
    from ..module_utils._kube import ready
    from ..module_utils._kube.text import clean

    warnings: dict[tuple[str, str], str] = {}
    for event in sorted(plain(events), key=lambda event: str(event.get("lastTimestamp") or event.get("eventTime") or "")):
        of = event.get("involvedObject", {})
        warnings[str(of.get("kind")), str(of.get("name"))] = f"{clean(event.get('reason'), 100)}: {clean(event.get('message'), 300)}"
    sentences = []
    for pod in plain(pods):
        name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
        reason = ready.pod(pod)
        if reason:
            warning = warnings.get(("Pod", name), "")
            sentences.append(
                f"Pod {namespace}/{name} is not ready: {reason}{f'; last warning: {warning}' if warning else ''}".rstrip(".") + "."
            )
    unmade = [f"{kind} {name}: {text}." for (kind, name), text in warnings.items() if text.startswith("FailedCreate:")]
    return sentences + unmade


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Filters by name."""
        return {"pod_problems": pod_problems}
