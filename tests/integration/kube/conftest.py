# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kube_rig import connect, temporary_namespace

from plugins.module_utils._kube.client import Client
from plugins.module_utils._kube.deadline import Deadline


@pytest.fixture
def client(kubeconfig: Path) -> Client:
    """An administrator's, which outlasts the test's plays: what the test made is still to be removed."""
    return connect({"kubeconfig": str(kubeconfig), "timeout": 600})


@pytest.fixture
def namespace(client: Client) -> Iterator[str]:
    with temporary_namespace(client) as name:
        yield name


@pytest.fixture
def environment(kubeconfig: Path) -> dict[str, str]:
    """For a play as a user runs it, who names the cluster by K8S_AUTH_KUBECONFIG alone."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("K8S_AUTH_")}
    return {**kept, "K8S_AUTH_KUBECONFIG": str(kubeconfig)}


@pytest.fixture
def new_client(kubeconfig: Path) -> Any:
    """Clients as a module makes them, one for each task."""

    def make(seconds: float = 60, **options: Any) -> Client:
        return connect({"kubeconfig": str(kubeconfig), **options}, deadline=Deadline(seconds))

    return make


@pytest.fixture(scope="session", autouse=True)
def _nothing_is_left(kubeconfig: Path) -> Iterator[None]:
    """All namespaces that these tests made are gone at the end."""
    yield
    client = connect({"kubeconfig": str(kubeconfig), "timeout": 120})
    while left := [each["metadata"]["name"] for each in client.list("Namespace", labels="edgemesh-test=yes")[0]]:
        assert not client.deadline.expired, f"still there: {left}"
        time.sleep(0.5)
