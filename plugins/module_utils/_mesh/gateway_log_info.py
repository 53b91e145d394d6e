# SPDX-License-Identifier: GPL-3.0-or-later
"""The access logs of gateways, where we may read them."""

from __future__ import annotations

from .._kube.client import ApiError, Client


def read(client: Client, gateway: str, container: str, since: int, contains: str) -> tuple[list[str], list[str]]:
    """Lines of the logs of all pods behind a Service that contain a text, and why those of other pods could not be read.

    :param gateway: the Service as ``namespace/name``.
    :param since: seconds back from now.
    """
    namespace, _slash, service = gateway.partition("/")
    try:
        found = client.get("Service", service, namespace)
        selector = ((found or {}).get("spec") or {}).get("selector") or {}
        if not selector:
            return [], [f"Service {gateway} does not exist, or selects no pods"]
        pods, _version = client.list("Pod", namespace, labels=",".join(f"{key}={value}" for key, value in selector.items()))
    except ApiError as error:
        return [], [error.sentence]
    lines: list[str] = []
    problems: list[str] = []
    for pod in (pod for pod in pods if (pod.get("status") or {}).get("phase") == "Running"):
        try:
            written = client.log(pod["metadata"]["name"], namespace, container, since)
            lines += [line for line in written.splitlines() if contains in line]
        except ApiError as error:
            problems.append(error.sentence)
    return lines, problems
