"""The way of edge_probe and of role diagnose, without Ansible: for tests that need many of them fast."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from plugins.module_utils._diagnose import ladder as plan
from plugins.module_utils._diagnose.hostfacts import Facts
from plugins.module_utils._diagnose.verdict import Diagnosis, diagnose
from plugins.module_utils._nginx.read.effective import Effective, read
from plugins.module_utils._nginx.read.sharing import look
from plugins.module_utils._probe import edge_probe as run
from plugins.module_utils._probe import session
from plugins.module_utils._probe.foreign import foreign_certificate
from plugins.module_utils._probe.observation import Observation


def probe(options: list[dict[str, Any]], wait: float = 0, concurrency: int = 8) -> list[dict[str, Any]]:
    """edge_probe's results."""
    foreign = foreign_certificate()

    def observe(entries: list[dict[str, Any]]) -> tuple[list[list[Observation]], dict[str, dict[str, str]]]:
        paths = session.typed(entries)
        seen = run.probe(paths, attempt_timeout=20, timeout=120 + wait, wait_timeout=wait, concurrency=concurrency, foreign=foreign)
        return [[Observation.from_dict(each) for each in of_path] for of_path in seen], run.read_ca_files(paths)

    return session.results(options, observe, "here")


def diagnose_nginx(
    dump: str, host: str, path: str = "/", gateway: list[tuple[str, int]] | None = None, facts: Facts | None = None
) -> Diagnosis:
    """The diagnosis of the nginx whose ``nginx -v -T`` this is."""
    way = Effective.from_dict(asdict(look(read(dump), host, path)))
    results = probe(plan.first_look(way, host, path, gateway or []))
    steps = plan.ladder(way, host, results, gateway or [])
    turns = plan.turns(way, host, path)
    return diagnose(way, host, path, results, probe(steps) if steps else [], facts, probe(turns, concurrency=1) if turns else [])
