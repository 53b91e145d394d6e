# SPDX-License-Identifier: GPL-3.0-or-later
"""One world for all tests of lists: VMs, an app in the mesh and its gateway, and the load generator."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.integration.lists.lists_world import GATEWAY, LONG, World
from tests.integration.nginx import nginx_load
from tests.integration.nginx.nginx_load import Load
from tests.integration.own_gateway import own_gateway
from tests.spare_vms import spare


@pytest.fixture(scope="package")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("lists")
    with own_gateway(GATEWAY, folder), spare("bookworm") as first, spare("trixie") as second:
        made = World(folder, first, second)
        made.app()
        try:
            yield made
        finally:
            made.end()


@pytest.fixture(scope="module")
def load(tmp_path_factory: pytest.TempPathFactory, world: World) -> Callable[[str], Load]:
    """200 requests a second for a host on the second VM, over HTTP/1.1 and HTTP/2, on kept and on new connections.

    In short form other tests keep the machine busy, the app's pod included, so it is a quarter of that.
    """
    program = nginx_load.build(tmp_path_factory.mktemp("load"))
    return lambda host: Load(program, world.address(world.vms[1]), 443, host, nginx_load.RATE if LONG else nginx_load.RATE // 4)
