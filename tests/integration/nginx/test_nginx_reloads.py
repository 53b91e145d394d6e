# SPDX-License-Identifier: GPL-3.0-or-later
"""Many changes one after the other under load: no request fails, on whatever connection it comes."""

from __future__ import annotations

import os

import pytest
from nginx_machine import Machine, busy

pytestmark = pytest.mark.lab
CHANGES = 50 if os.environ.get("EDGEMESH_SOAK") else 5


def test_changes_under_load_fail_no_request(vm: Machine) -> None:
    vm.good(busy("0"))
    texts = [str(number) for number in range(CHANGES + 1)]
    with vm.load() as load:
        for text in texts[1:]:
            assert vm.good(busy(text))["confirmed"]
            assert vm.get() == text
    load.check(set(texts), f"{CHANGES} changes")
    assert load.texts == set(texts), "each of them came to serve"


def test_the_load_would_see_a_restart(vm: Machine) -> None:
    """What is gone for a moment is a failure, so the figure above can be another than 0."""
    vm.good(busy("one"))
    with vm.load() as load:
        vm.sh("sleep 1; pkill -9 -x nginx; while pgrep -x nginx >/dev/null; do sleep 0.02; done; rm -f /run/nginx.pid; nginx")
    assert load.total("failed") > 0
