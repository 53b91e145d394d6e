"""The rig, once for all tests of the folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from probe_rig import Gateway


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A real Envoy."""
    gateway = Gateway(Path(tmp_path_factory.mktemp("gateway")))
    gateway.start()
    yield gateway
    gateway.stop()
