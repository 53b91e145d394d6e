# SPDX-License-Identifier: GPL-3.0-or-later
"""Many paths at once, each as often as asked, within one deadline."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from .. import _pem
from . import tls
from .classify import CHAIN_CODES, of_failure
from .expect import meets
from .observation import Observation
from .spec import Path
from .wire import Attempt

_PAUSE = 0.2  # seconds between attempts that wait for a change
_CA_FILE_LIMIT = 4 * 1024 * 1024
_JUDGED_LATER = set(CHAIN_CODES.values())


def probe(
    paths: list[Path], *, attempt_timeout: float, timeout: float, wait_timeout: float = 0, concurrency: int = 8, foreign: str | None = None
) -> list[list[dict[str, Any]]]:
    """Probe every path; returns for each, in order, the different things seen (see :func:`_series`).

    Those ``in_turn`` come when all others are done, one at a time, and are not tried again.

    :param attempt_timeout: seconds for one attempt.
    :param timeout: seconds for everything; what it cut off is ``not_tested``.
    :param wait_timeout: seconds for which a path may be tried again until it shows ``consecutive`` times what is expected.
    :param foreign: PEM of the throw-away certificate and key.
    """
    until = time.monotonic() + timeout
    memory = tls.Memory(foreign)
    try:
        with ThreadPoolExecutor(max_workers=max(1, min(concurrency, len(paths) or 1))) as pool:
            jobs = {
                at: pool.submit(_series, path, attempt_timeout, wait_timeout, until, memory.path)
                for at, path in enumerate(paths)
                if not path.in_turn
            }
            seen = {at: job.result() for at, job in jobs.items()}
        seen.update({at: _series(path, attempt_timeout, 0, until, memory.path) for at, path in enumerate(paths) if path.in_turn})
        return [[each.as_dict() for each in seen[at]] for at in range(len(paths))]
    finally:
        memory.close()


def _series(path: Path, attempt_timeout: float, wait_timeout: float, until: float, foreign: str | None) -> list[Observation]:
    """``consecutive`` attempts: those that differ, each with how often it was seen; the first miss ends the series.

    While ``wait_timeout`` lasts, a miss starts it again, so that what is returned is the last streak or the last miss.
    """
    patience = time.monotonic() + wait_timeout
    streak: list[Observation] = []
    while True:
        left = until - time.monotonic()
        if left <= 0:
            return streak or [Observation(not_tested={"dns": "the deadline for all probes had passed"}, attempts=0)]
        seen = Attempt(path, min(attempt_timeout, left), foreign).run()
        streak.append(seen)
        if _chain_was_sent(path, seen) or (meets(seen, path.expect) and (time.monotonic() >= patience or _refused_as_expected(path, seen))):
            if len(streak) >= path.consecutive:
                return _distinct(streak)
        elif time.monotonic() >= patience:
            return _distinct(streak)
        else:
            streak = []
            time.sleep(max(0.0, min(_PAUSE, patience - time.monotonic())))


def _chain_was_sent(path: Path, seen: Observation) -> bool:
    """Where a chain is expected to be no good, the wire shows no more than the chain: there is nothing to wait for."""
    sent = seen.failure is None and seen.tls is not None and bool(seen.tls.chain)
    return sent and path.expect.refused and bool(_JUDGED_LATER.intersection(path.expect.codes))


def _refused_as_expected(path: Path, seen: Observation) -> bool:
    """While there is time to wait, a refusal for another reason than the expected one is waited out: it may be a gateway not ready yet."""
    if not path.expect.refused or not path.expect.codes or seen.failure is None:
        return True
    return of_failure(path, seen, seen.failure).code in path.expect.codes


def _distinct(streak: list[Observation]) -> list[Observation]:
    different: dict[Any, Observation] = {}
    for seen in streak:
        known = different.setdefault(seen.likeness, seen)
        if known is not seen:
            known.attempts += 1
    return list(different.values())


def read_ca_files(paths: list[Path]) -> dict[str, dict[str, str]]:
    """The trust bundles that paths name, as ``{file: {"pem": ...} or {"error": ...}}``; only their certificates travel."""
    files: dict[str, dict[str, str]] = {}
    for name in {path.tls.ca_file for path in paths if path.tls and path.tls.ca_file}:
        try:
            with open(name, encoding="utf-8", errors="replace") as file:
                blocks = _pem.blocks(file.read(_CA_FILE_LIMIT))
        except OSError as error:
            files[name] = {"error": str(error.strerror)}
            continue
        files[name] = {"pem": "\n".join(blocks) + "\n"} if blocks else {"error": "it holds no certificate"}
    return files
