# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller's half of a probe from beginning to end: paths, trust, verdicts, and the second look where one is needed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from .._errors import EdgeError
from . import contrast, spec
from .entry import entry
from .judge import Trust, explained, result
from .observation import Observation

#: probes these entries of ``paths`` from the host: what was seen of each, and the CA files there
Observe = Callable[[list[dict[str, Any]]], tuple[list[list[Observation]], dict[str, dict[str, str]]]]


def results(options: list[dict[str, Any]], observe: Observe, vantage: str) -> list[dict[str, Any]]:
    """Probe and judge every entry of ``options``; see edge_probe's ``results``.

    :raises EdgeError: for an entry that can't be probed, before anything is sent.
    """
    paths = typed(options)
    seen, ca_files = observe(options)
    found = [result(path, each, _trust(path, ca_files), vantage) for path, each in zip(paths, seen)]
    tries = [
        (number, change, variant)
        for number, each in enumerate(found)
        if not each["ok"]
        for change, variant in contrast.variants(paths[number], each["code"], _alerted(seen[number])).items()
    ]
    if tries:
        again, _files = observe([entry(replace(variant, name=f"{number} {change}")) for number, change, variant in tries])
        for number in {each[0] for each in tries}:
            tried = {change: each[0] for (of, change, _variant), each in zip(tries, again) if of == number}
            found[number] = explained(paths[number], found[number], tried)
    return found


def typed(options: list[dict[str, Any]]) -> list[spec.Path]:
    """The entries as paths; the one that can't be probed is named."""
    paths, names = [], set()
    for number, each in enumerate(options):
        where = f"paths[{number}] ({each['name']})"
        try:
            paths.append(spec.path(each))
        except ValueError as error:
            raise EdgeError("the path can't be probed", where=where, why=str(error), fix="Correct this entry.") from None
        if each["name"] in names:
            raise EdgeError("another path has the same name", where=where, fix="Give every path a name of its own.")
        names.add(each["name"])
    return paths


def _alerted(seen: list[Observation]) -> bool:
    failures = [each.failure for each in seen if each.failure is not None]
    return bool(failures) and all(failure.alert is not None for failure in failures)


def _trust(path: spec.Path, ca_files: dict[str, dict[str, str]]) -> Trust:
    if path.tls is None:
        return Trust()
    if path.tls.ca_pem or not path.tls.ca_file:
        return Trust(pem=path.tls.ca_pem)
    read = ca_files.get(path.tls.ca_file, {})
    error = read.get("error", "")
    return Trust(pem=read.get("pem", ""), error=f"{path.tls.ca_file}: {error}" if error else "")
