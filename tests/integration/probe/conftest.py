# SPDX-License-Identifier: GPL-3.0-or-later
"""The rig, once for all tests of the folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from identity_rig import IdentityGateway
from probe_rig import Gateway

from tests.nginx_releases import VERSIONS


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A real Envoy."""
    gateway = Gateway(Path(tmp_path_factory.mktemp("gateway")))
    gateway.start()
    yield gateway
    gateway.stop()


@pytest.fixture(scope="session")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IdentityGateway]:
    """A gateway that tells who came."""
    gateway = IdentityGateway(Path(tmp_path_factory.mktemp("mesh")))
    gateway.start()
    yield gateway
    gateway.stop()


@pytest.fixture(params=VERSIONS, ids=VERSIONS.values())
def release(request: pytest.FixtureRequest) -> str:
    """The Debian release whose nginx it is."""
    return str(request.param)


@pytest.fixture(scope="module")
def collections(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A collections path under which this checkout is edgemesh.nginx_istio."""
    folder = tmp_path_factory.mktemp("collections")
    (folder / "ansible_collections" / "edgemesh").mkdir(parents=True)
    (folder / "ansible_collections" / "edgemesh" / "nginx_istio").symlink_to(Path(__file__).parents[3])
    return folder
