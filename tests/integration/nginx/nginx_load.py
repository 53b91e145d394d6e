# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests at a fixed rate while something is done to an nginx; see load/main.go for what counts as a failure."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any

from lab.build import Binary, go
from tests.figures import FIGURES

RATE = 200
#: A file that takes half a second: some answer is always under way.
SLOW_SIZE, SLOW_RATE = 60_000, "120k"


def build(folder: Path) -> Path:
    """The load generator, from the standard library of Go alone."""
    program = folder / "load"
    load = Binary("load", str(Path(__file__).with_name("load")), ".")
    list(go(load, "build", "-ldflags=-s -w", "-o", str(program), load.package))
    return program


class Load:
    """Load as a context; what was seen is there when it has ended.

    :param new: one request in so many is on a new connection.
    :param inside: the network namespace that it is sent from; the machine's own if empty.
    """

    def __init__(self, program: Path, address: str, port: int, host: str, rate: int = RATE, *, new: int = 2, inside: str = "") -> None:
        slow = SLOW_SIZE if port == 8443 else 0
        place = ["ip", "netns", "exec", inside] if inside else []
        asked = [f"-address={address}:{port}", f"-host={host}", f"-rate={rate}", f"-new={new}", f"-slow={slow}"]
        self._command = [*place, str(program), *asked]
        self.rate = rate
        self.seen: dict[str, Any] = {}

    def __enter__(self) -> Load:
        self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "started\n"
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        said, _nothing = self._process.communicate(timeout=300)
        self.seen = json.loads(said)

    def total(self, what: str) -> int:
        """The sum of a figure over all kinds of clients."""
        return sum(kind[what] for kind in self.seen["kinds"].values())

    @property
    def texts(self) -> set[str]:
        """Everything that was answered."""
        return {text for kind in self.seen["kinds"].values() for text in kind["answers"]}

    def check(self, texts: set[str], label: str) -> None:
        """Nothing failed, and nothing but these texts was answered. A machine that is too busy for the rate is not held against nginx."""
        kinds, reached = self.seen["kinds"].items(), self.seen["sent"] / self.seen["seconds"]
        less = f" (fewer than the {self.rate} that were wanted)" if reached < 0.95 * self.rate else ""
        FIGURES.append(
            f"{label}: {self.seen['sent']} requests in {self.seen['seconds']:.1f} s, {reached:.0f}/s{less}, {self.total('failed')} failed, "
            f"{self.total('repeated')} repeated on another connection; "
            + ", ".join(f"{name}: {kind['connections']} connections, slowest {kind['slowest_ms']} ms" for name, kind in kinds)
        )
        failures = {name: kind["failures"] for name, kind in kinds if kind["failures"]}
        assert not failures, failures
        assert self.texts <= texts
        assert self.total("requests") == self.seen["sent"] > 0
