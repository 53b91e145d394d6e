# SPDX-License-Identifier: GPL-3.0-or-later
"""The demo, once for all tests of the folder: two routes on both VMs, made by its own script."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.demo.demo_lab import READ, Demo, restore
from tests.integration.playbooks import on_host


@pytest.fixture(scope="package")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """As `make demo` leaves it, with the oldest ansible-core that we support where that is installed (OLD_VENV); nothing of it stays."""
    made = Demo(Path(tmp_path_factory.mktemp("proof")))
    try:
        made.make()
        yield made
    finally:
        done = made.play("teardown")
        assert done.returncode == 0, done.stdout[-4000:]


@pytest.fixture
def configs(demo: Demo) -> Iterator[dict[str, str]]:
    """Each VM's configuration, which is put back afterwards."""
    generations = {vm: on_host(vm, "readlink /etc/nginx/edgemesh/current").strip() for vm in demo.vms}
    yield {vm: on_host(vm, READ) for vm in demo.vms}
    for vm, generation in generations.items():
        restore(vm, generation)
