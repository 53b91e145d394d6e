# SPDX-License-Identifier: GPL-3.0-or-later
"""Configuration and credentials by the ``kubernetes`` package: contexts, exec plugins, OIDC, token files, in-cluster, proxies."""

from __future__ import annotations

import logging
import os
import re
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .._errors import EdgeError
from .._kubeconfig import kubeconfig_content, kubeconfig_path, not_yaml
from .text import clean


def library() -> Any:
    """The package; its import takes a while, so it comes late and only where it is needed.

    :raises EdgeError: when it is missing.
    """
    try:
        import kubernetes.client.rest
        import kubernetes.config
    except ImportError as error:
        raise EdgeError(
            f"the Python library {(error.name or 'kubernetes').partition('.')[0]} is missing",
            where=f"{sys.executable} on {socket.gethostname()}",
            fix="Install it there (pip install kubernetes), or use a host with it (delegate_to localhost, ansible_playbook_python)",
            code="LIBRARY_MISSING",
        ) from None
    return kubernetes


def load(options: dict[str, Any], folder: str, *, complete: bool) -> Any:
    """A ``kubernetes.client.Configuration``, filled from the pod's service account or a kubeconfig unless ``options`` are complete.

    :param folder: where the package may write embedded certificates and keys.
    :raises EdgeError: in words that quote nothing secret.
    """
    kubernetes = library()
    configuration = kubernetes.client.Configuration()
    if not complete:
        _fill(kubernetes.config, configuration, options, folder)
    return configuration


def _fill(config: Any, configuration: Any, options: dict[str, Any], folder: str) -> None:
    if "kubeconfig" not in options and "context" not in options:
        try:
            config.load_incluster_config(client_configuration=configuration)
            return
        except config.ConfigException:
            pass  # not in a pod
    common = {
        "context": options.get("context"),
        "client_configuration": configuration,
        "persist_config": options.get("persist_config", False),
        "temp_file_path": folder,
    }
    path = kubeconfig_path(options)
    content = None if path else kubeconfig_content(options["kubeconfig"])
    where = f"kubeconfig {clean(path, 300)} on {socket.gethostname()}" if path else "kubeconfig"
    with _complaints() as complaints:
        try:
            if path:
                config.load_kube_config(config_file=path, **common)
            else:
                config.load_kube_config_from_dict(content, **common)
        except Exception as error:
            raise _config_error(error, path, where, options) from None
    if complaints:
        # The package logs a failing exec plugin and goes on as nobody, which ends as a puzzling 401 or 403.
        raise EdgeError(
            "the kubeconfig's credentials can't be obtained",
            where=where,
            why=complaints[-1],
            fix="Log in again, or correct its exec plugin",
            code="CREDENTIALS",
        )


def _config_error(error: Exception, path: str, where: str, options: dict[str, Any]) -> EdgeError:
    if type(error).__module__.startswith("yaml"):
        return not_yaml(error, where)
    if path and not any(os.path.exists(os.path.expanduser(each)) for each in path.split(os.pathsep) if each):
        return EdgeError(
            "there is no kubeconfig",
            where=where,
            why="" if "kubeconfig" in options else "no connection option, no K8S_AUTH_* variable, not in a pod",
            fix="Give kubeconfig (path or dictionary), or host and api_key, or set K8S_AUTH_*; paths count on the host that runs the task",
            code="NO_CONFIGURATION",
        )
    if isinstance(error, OSError):
        return EdgeError(
            "the kubeconfig can't be read", where=where, why=f"{error.filename or ''}: {error.strerror}", code="NO_CONFIGURATION"
        )
    # The package's messages name where in the file, and quote the whole entry with its token for that.
    text = str(error)
    if missing := re.search(r"Expected object with name (\S+) in", text):
        return EdgeError(
            f"it has no entry named {clean(missing[1], 200)}",
            where=where,
            fix="Correct the context or the kubeconfig",
            code="NO_CONFIGURATION",
        )
    if missing := re.search(r"Expected key (\S+) in", text):
        return EdgeError(f"it lacks {clean(missing[1], 200)}", where=where, fix="Correct the kubeconfig", code="NO_CONFIGURATION")
    why = clean(text.partition("{")[0], 300) if type(error).__name__ == "ConfigException" else type(error).__name__
    return EdgeError("the kubeconfig can't be used", where=where, why=why, code="NO_CONFIGURATION")


@contextmanager
def _complaints() -> Iterator[list[str]]:
    """What the package logs as an error meanwhile."""
    found: list[str] = []

    class Collect(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(clean(record.getMessage(), 300))

    handler = Collect(level=logging.ERROR)
    logging.getLogger().addHandler(handler)
    try:
        yield found
    finally:
        logging.getLogger().removeHandler(handler)
