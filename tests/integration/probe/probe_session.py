# SPDX-License-Identifier: GPL-3.0-or-later
"""The way of edge_probe and of edge_diagnose, without Ansible: for tests that need many of them fast."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from plugins.module_utils._diagnose.inquiry import Question, inquire
from plugins.module_utils._diagnose.verdict import Diagnosis
from plugins.module_utils._probe import edge_probe as run
from plugins.module_utils._probe import session
from plugins.module_utils._probe.entry import entry
from plugins.module_utils._probe.foreign import foreign_certificate
from plugins.module_utils._probe.observation import Observation
from plugins.module_utils._script import Answer


def probe(options: list[dict[str, Any]], wait: float = 0) -> list[dict[str, Any]]:
    """edge_probe's results."""
    foreign = foreign_certificate()

    def observe(entries: list[dict[str, Any]]) -> tuple[list[list[Observation]], dict[str, dict[str, str]]]:
        paths = session.typed(entries)
        seen = run.probe(paths, attempt_timeout=20, timeout=120 + wait, wait_timeout=wait, foreign=foreign)
        return [[Observation.from_dict(each) for each in of_path] for of_path in seen], run.read_ca_files(paths)

    return session.results(options, observe, "here")


def diagnose_nginx(dump: str, host: str, path: str = "/", gateway: tuple[tuple[str, int], ...] = ()) -> Diagnosis:
    """The diagnosis of the nginx whose ``nginx -v -T`` this is, on a host that says nothing else of itself."""

    def ask(commands: Mapping[str, str]) -> dict[str, Answer]:
        return {"nginx": Answer(dump, 0)} if "nginx" in commands else {}

    return inquire(Question(host, path, gateway=gateway), ask, lambda paths: probe([entry(each) for each in paths]))
