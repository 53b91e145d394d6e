# SPDX-License-Identifier: GPL-3.0-or-later
"""What every test may use: the lab, an API server, and honest skips."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.figures import FIGURES

LAB_KUBECONFIG = Path("/var/lib/edgemesh-lab/kubeconfig")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip what the machine lacks, naming it; order the tests that take the lab down last."""
    own_cluster = os.environ.get("KUBECONFIG", "") not in ("", str(LAB_KUBECONFIG))
    for item in items:
        if item.get_closest_marker("soak") and not os.environ.get("EDGEMESH_SOAK"):
            item.add_marker(pytest.mark.skip(reason="needs the full length and a quiet machine: make soak"))
        needs_lab = item.get_closest_marker("lab") or item.get_closest_marker("lab_lifecycle")
        if needs_lab and own_cluster:
            item.add_marker(pytest.mark.skip(reason="needs the lab, but KUBECONFIG names a cluster of your own"))
        elif needs_lab and os.geteuid() != 0:
            item.add_marker(pytest.mark.skip(reason="needs the lab, which needs root"))
    items.sort(key=lambda item: item.get_closest_marker("lab_lifecycle") is not None)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what was measured."""
    if FIGURES:
        terminalreporter.section("figures")
        for line in FIGURES:
            terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def kubeconfig() -> Path:
    """The API server for tests marked ``cluster``: KUBECONFIG, or the lab's. Not reachable is a failure, not a skip."""
    path = Path(os.environ.get("KUBECONFIG") or LAB_KUBECONFIG)
    if not path.is_file():
        pytest.fail(f"no API server: {path} does not exist. Run `make lab`, or set KUBECONFIG.")
    return path
