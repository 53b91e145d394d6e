# SPDX-License-Identifier: GPL-3.0-or-later
"""A diagnosis from beginning to end: read nginx, probe, correct, name the cause. It knows of the host only two functions that ask it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from .. import _values as values
from .._address import split
from .._errors import EdgeError
from .._nginx import commands
from .._nginx.read.effective import Effective, read
from .._nginx.read.sharing import look
from .._probe.spec import Path
from .._script import Answer
from . import hostfacts, ladder
from .ladder import Result
from .verdict import Diagnosis, diagnose

#: runs these shell commands on the host: the answer of each by its name
Ask = Callable[[Mapping[str, str]], dict[str, Answer]]
#: probes these from the host: edge_probe's ``results``
Probe = Callable[[list[Path]], list[Result]]


@dataclass(frozen=True)
class Question:
    """The request that does not work.

    :ivar port: where clients reach nginx; None for a port where a server has this host name, TLS first.
    :ivar gateway: addresses of the mesh's gateway; only needed where there is no nginx, or to find the right address.
    :ivar nginx: the command that runs nginx on the host, in words.
    """

    host: str
    path: str = "/"
    port: int | None = None
    gateway: tuple[tuple[str, int], ...] = ()
    nginx: tuple[str, ...] = ("nginx",)


def inquire(question: Question, ask: Ask, probe: Probe) -> Diagnosis:
    """Ask the host as much as it takes to name the cause; a healthy path takes one command and one round of probes.

    :raises EdgeError: for a host that can't be asked or probed from, or a configuration that can't be read.
    """
    host, path, gateway = question.host, question.path, list(question.gateway)
    said = ask({"nginx": commands.shell(question.nginx, "-v", "-T")}).get("nginx")
    if said is None:
        raise EdgeError("the host's shell gave no answer", fix="Try on that host: sudo nginx -T")
    way: Effective | None = None
    if said.status == 0:
        way = look(read(said.said), host, path, question.port)
    first = ladder.first_look(way, host, path, gateway, question.port)
    results = probe([*first, *ladder.turns(way, host, path)])
    results, turns = results[: len(first)], results[len(first) :]
    broken = hostfacts.refused(said.said) if said.status else ""
    if all(each["ok"] for each in results):
        return diagnose(way, host, path, results, turns=turns, broken=broken)
    corrected = ladder.ladder(way, host, results, gateway) if way else []
    steps = probe(corrected) if corrected else []
    facts = hostfacts.facts_of(ask(hostfacts.questions(way.files if way else [])))
    return diagnose(way, host, path, results, steps, facts, turns, broken)


def addresses(listed: list[str]) -> tuple[tuple[str, int], ...]:
    """``address:port`` in parts.

    :raises EdgeError: for any other text.
    """
    return tuple(split(values.endpoint(each, "gateway")) for each in filter(None, map(str.strip, listed)))
