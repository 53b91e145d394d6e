# SPDX-License-Identifier: GPL-3.0-or-later
"""A short run of the fuzzer; the long one is `python -m tests.fuzz.fuzz_x509`."""

from __future__ import annotations

from plugins.module_utils._x509 import pem
from tests.fuzz import fuzz_x509


def test_damaged_input_never_leads_to_anything_but_facts_or_errors() -> None:
    tally = fuzz_x509.run(4000, seed=1)
    assert not tally.failures, "\n".join(tally.failures)
    assert len(tally.outcomes) > 20, "it no longer reaches most faults"
    assert tally.outcomes["damaged certificate"] > 400
    assert tally.outcomes["held"] > 300
    assert tally.outcomes["inspected"] > 10


def test_the_fuzzer_sees_what_it_looks_for(monkeypatch) -> None:
    """A reader that raises anything else, or repeats a key, or takes its time."""

    def reader(data: object, where: str = "", strict: bool = True) -> list[object]:
        raise ValueError("broken")

    monkeypatch.setattr(pem, "certificates", reader)
    assert "ValueError" in fuzz_x509.run(60, seed=1).failures[0]

    def talker(data: object, where: str = "", strict: bool = True) -> list[object]:
        raise pem.PemError(f"bad: {fuzz_x509.HIDDEN[100:160]}", where=where, code="PEM_X")

    monkeypatch.setattr(pem, "certificates", talker)
    assert fuzz_x509.run(60, seed=1).outcomes["LEAK"]
    monkeypatch.setattr(fuzz_x509, "CPU_GUARD", 0.0)
    assert fuzz_x509.run(5, seed=1).outcomes["HANG"] + fuzz_x509.run(60, seed=1).outcomes["LEAK"]
