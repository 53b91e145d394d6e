# SPDX-License-Identifier: GPL-3.0-or-later
"""Say what is being done, how far it is and how long it took: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

PLAIN_INTERVAL = 15.0  # seconds between two plain lines about the same step


class Step:
    """One piece of work. Its methods may be called from any thread.

    :param total: number of units that it has, if known.
    """

    def __init__(self, owner: Progress, title: str, total: int | None) -> None:
        self.owner, self.title, self.total = owner, title, total
        self.done = 0
        self.text = ""
        self.began = self.said = time.monotonic()
        self.task = owner.bars.add_task(title, total=total, note="") if owner.bars else None

    def advance(self, units: int = 1, note: str = "") -> None:
        """``units`` more are done."""
        self.done += units
        self.note(note)

    def note(self, text: str) -> None:
        """What is being done right now."""
        self.text = text
        if self.owner.bars and self.task is not None:
            self.owner.bars.update(self.task, completed=self.done, total=self.total, note=text[-60:])
        elif time.monotonic() - self.said >= PLAIN_INTERVAL:
            self.said = time.monotonic()
            count = f"{self.done}/{self.total} " if self.total else ""
            self.owner.line(f"    {self.title}: {count}{text} ({self.said - self.began:.0f} s)")


class Progress:
    """Reports steps to standard error; use as a context manager."""

    def __init__(self) -> None:
        self.console = Console(stderr=True, highlight=False)
        self.lock = threading.Lock()
        self.began = time.monotonic()
        self.bars: Bars | None = None
        if self.console.is_terminal:
            self.bars = Bars(
                SpinnerColumn(),
                TextColumn("{task.description}"),
                BarColumn(bar_width=30),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TextColumn("[dim]{task.fields[note]}"),
                console=self.console,
                transient=True,
            )

    def __enter__(self) -> Progress:
        if self.bars:
            self.bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.bars:
            self.bars.stop()

    @contextmanager
    def step(self, title: str, total: int | None = None) -> Iterator[Step]:
        """Report the block as one step, with its time; steps of several threads may overlap."""
        step = Step(self, title, total)
        mark = "✗"
        try:
            yield step
            mark = "✓"
        finally:
            if self.bars and step.task is not None:
                self.bars.remove_task(step.task)
            self.line(f"{mark} {title}  {time.monotonic() - step.began:.1f} s")

    def line(self, text: str) -> None:
        """A line that stays."""
        with self.lock:
            if self.bars:
                self.console.print(text, markup=False)
            else:
                print(text, file=sys.stderr, flush=True)
