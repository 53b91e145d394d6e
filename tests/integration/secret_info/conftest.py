# SPDX-License-Identifier: GPL-3.0-or-later
"""tls_secret_info and tls_secret against an API server of their own, which may be broken at will."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from plugins.module_utils._kube.client import Client
from plugins.module_utils._kube.connection import connect
from plugins.module_utils._kube.deadline import Deadline
from tests.integration.secret_info.own_api import OwnApi


@pytest.fixture(scope="session")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnApi]:
    own = OwnApi(tmp_path_factory.mktemp("api"))
    try:
        own.start()
        yield own
    finally:
        own.stop()


@pytest.fixture(scope="session")
def new_client(api: OwnApi) -> Callable[..., Client]:
    """Clients as a module makes them, one for each task; the administrator's unless a kubeconfig is given."""

    def make(seconds: float = 60, kubeconfig: Path | None = None, **options: Any) -> Client:
        return connect({"kubeconfig": str(kubeconfig or api.kubeconfig), **options}, deadline=Deadline(seconds))

    return make


@pytest.fixture
def client(new_client: Callable[..., Client]) -> Client:
    # longer than the slowest test at full length
    return new_client(1800)


@pytest.fixture
def namespace(client: Client) -> str:
    """Never removed: it ends with the API server."""
    name = f"test-{secrets.token_hex(4)}"
    client.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    return name
