# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest

from plugins.module_utils._kube import wait
from plugins.module_utils._kube.deadline import Backoff


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same pauses, a hundredth as long."""
    monkeypatch.setattr(Backoff, "FIRST", 0.005)
    monkeypatch.setattr(Backoff, "MOST", 0.15)
    monkeypatch.setattr(wait, "POLL", 0.05)
