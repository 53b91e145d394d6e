"""The access logs of gateways, where we may read them."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from .._kube.client import ApiError, Client
from .._kube.errors import from_answer
from .._kube.resources import Resource

_LOGS = Resource("v1", "Pod", "pods/log", namespaced=True)
#: One pod's log, at most this many bytes of it, from its end.
_LIMIT = 8 * 1024 * 1024


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
            lines += [line for line in _log(client, pod, container, since) if contains in line]
        except ApiError as error:
            problems.append(error.sentence)
    return lines, problems


def _log(client: Client, pod: dict[str, Any], container: str, since: int) -> list[str]:
    namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
    where = f"log of Pod {namespace}/{name}"
    path = f"/api/v1/namespaces/{quote(namespace, safe='')}/pods/{quote(name, safe='')}/log"
    query = {"container": container, "sinceSeconds": str(since)}
    answer = client._transport.send("GET", path, query, accept="*/*", time_limit=max(1.0, client.deadline.remaining), where=where)
    if answer.status >= 400:
        raise from_answer(answer.status, answer.data, where=where, verbs=("get",), resource=_LOGS, namespace=namespace)
    return str(answer.data[-_LIMIT:].decode("utf-8", "replace")).splitlines()
