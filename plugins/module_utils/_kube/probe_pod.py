# SPDX-License-Identifier: GPL-3.0-or-later
"""A short-lived pod that Ansible works in: how kubectl reaches it, and which such pods have outlived their runs."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from .._errors import EdgeError
from .._kubeconfig import is_text
from .._loose import mapping, number
from .labels import MANAGED_BY

LABELS = {**MANAGED_BY, "app.kubernetes.io/component": "probe-pod"}
#: Seconds by which a pod may outlive its deadline: clocks differ, and the kubelet takes a moment.
_GRACE = 60
#: Our options that connection kubernetes.core.kubectl takes as paths and names, by its variables.
_VARIABLES = {
    "context": "ansible_kubectl_context",
    "host": "ansible_kubectl_host",
    "validate_certs": "ansible_kubectl_validate_certs",
    "ca_cert": "ansible_kubectl_ca_cert",
    "client_cert": "ansible_kubectl_client_cert",
    "client_key": "ansible_kubectl_client_key",
}
_FILES = ("ca_cert", "client_cert", "client_key")
#: What would make it show a credential, or reach another pod, where the environment says so (K8S_AUTH_TOKEN and its like).
_SILENT = ("kubeconfig", "username", "password", "token", "extra_args")
#: kubectl verifies certificates in its own way, and keeps renewed tokens where it finds them.
_NO_MATTER = ("x509_strict", "persist_config")


def connection(options: Mapping[str, Any]) -> dict[str, Any]:
    """Variables by which Ansible's connection kubernetes.core.kubectl reaches the cluster that ``options`` name; no credential is in them.

    Each variable has a value, because the connection takes what has none from the environment, and puts a token on kubectl's command line.

    :param options: as of :func:`.connection.given`; relative paths count from the working directory.
    :raises EdgeError: they hold more than kubectl can be told out of others' sight.
    """
    kubeconfig = options.get("kubeconfig")
    more = sorted(set(options) - {"kubeconfig", *_VARIABLES, *_NO_MATTER})
    if more or not isinstance(kubeconfig, (str, type(None))) or is_text(kubeconfig):
        raise EdgeError(
            "Ansible can't connect to a pod with these credentials",
            why=f"kubectl would show {', '.join(more)} on its command line"
            if more
            else "the kubeconfig is no file that kubectl could read",
            fix="Give a kubeconfig as a file",
        )
    found: dict[str, Any] = {f"ansible_kubectl_{name}": "" for name in _SILENT}
    for name, variable in _VARIABLES.items():
        value = options.get(name, "")
        found[variable] = _absolute(value) if value and name in _FILES else value
    # as kubectl reads it, several files with a colon between them included
    files = os.pathsep.join(_absolute(path) for path in kubeconfig.split(os.pathsep)) if kubeconfig else ""
    return {**found, "ansible_kubectl_local_env_vars": {"KUBECONFIG": files} if files else {}}


def over(pods: Iterable[Mapping[str, Any]], now: datetime) -> list[dict[str, Any]]:
    """Pods that no run uses any more: ended, or older than their own deadline. Pods of other running plays stay.

    :param pods: as the API gives them, all with :data:`LABELS`.
    :param now: with a time zone.
    :returns: definitions by name and namespace, to be removed.
    """
    names = [{name: pod["metadata"][name] for name in ("name", "namespace")} for pod in pods if _over(pod, now)]
    return [{"apiVersion": "v1", "kind": "Pod", "metadata": each} for each in names]


def _over(pod: Mapping[str, Any], now: datetime) -> bool:
    metadata = pod["metadata"]
    if metadata.get("deletionTimestamp"):
        return False
    if mapping(pod.get("status")).get("phase") in ("Succeeded", "Failed"):
        return True
    born = datetime.fromisoformat(metadata["creationTimestamp"].replace("Z", "+00:00"))
    return now - born > timedelta(seconds=number(mapping(pod.get("spec")).get("activeDeadlineSeconds")) + _GRACE)


def _absolute(path: str) -> str:
    return os.path.abspath(os.path.expanduser(path))
