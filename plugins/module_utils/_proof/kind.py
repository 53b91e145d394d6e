# SPDX-License-Identifier: GPL-3.0-or-later
"""A kind of path: all that the proof has to be told about one way into, or out of, the mesh.

A kind is a package beside this file; :mod:`.kinds` names them. Nothing else here knows any of them.
"""

# ruff: noqa: RUF009 - of() makes fields, as dataclasses.field() does
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Optional, Protocol

from .._lists import Owner
from .._probe import spec
from .._probe.causes import Cause
from .._schema import kinds
from .._schema.fields import boolean, list_of, mapping, of, refuse, text
from .chain import Chain
from .checks import Check
from .model import Proof
from .verdict import Rule


def lines(value: Any, _where: str) -> str:
    """A text of any number of lines."""
    return str(value)


@dataclass(frozen=True)
class Neighbour:
    """A route of another list on the host that is looked at.

    :param paths: how the host itself asks for it, and what it must see.
    """

    owner: Owner
    paths: tuple[spec.Path, ...]


def neighbour(value: Any, where: str) -> Neighbour:
    """``list``, ``name``, and as ``probes`` entries of edge_probe's ``paths``; without any there is nothing to ask."""
    found = mapping(value, where)
    owner = Owner(kinds.dns_label(found.get("list"), f"{where}.list"), text(found.get("name"), f"{where}.name"))
    try:
        return Neighbour(owner, tuple(map(spec.path, list_of(mapping)(found.get("probes") or [], f"{where}.probes"))))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise refuse(f"{where}.probes", "has an entry that edge_probe can't probe", why=f"{type(error).__name__}: {error}") from None


@dataclass(frozen=True)
class Given:
    """What a plan is told besides routes. Kinds add fields of their own.

    :param here: the inventory name of the host that is looked at and probes.
    :param run: an identifier of this run, found again in access logs.
    :param foreign_ca: PEM of a CA certificate that signed nothing.
    :param check: nothing was changed in this run, so what it would have installed may be missing.
    :param neighbours: the routes of other lists on the host, where this run changed something there.
    """

    here: str = of(text)
    run: str = of(text)
    foreign_ca: str = of(lines, "")
    check: bool = of(boolean, False)
    neighbours: list[Neighbour] = of(list_of(neighbour), [])


@dataclass(frozen=True)
class Summary:
    """What the report says of a route as a whole.

    :param host: the name that clients ask for.
    :param about: a phrase for the heading, such as "gateway TLS mutual".
    :param unserved: what is missing where no host of the run looked at it.
    :param facts: more keys of its entry in ``routes`` of proof.json.
    """

    host: str
    about: str
    unserved: str
    facts: dict[str, Any] = field(default_factory=dict)


class Kind(Protocol):
    """One kind of path.

    ``causes`` and ``rules`` are its own, besides those of the probe and of :mod:`.judge`. ``unlike`` is the code of the cause where the
    whole path fails, and everything behind the place that it goes through works.
    """

    name: str
    chain: Chain
    checks: Mapping[str, Check]
    causes: Mapping[str, Cause]
    rules: Mapping[str, Rule]
    unlike: str
    #: a dataclass of :class:`Given`
    given: type[Any]

    def routes(self, text: str, groups: Optional[Sequence[str]] = None) -> list[Any]:
        """The routes of this kind in what read_routes has found; each has a ``name``.

        :param groups: only those that a host of these inventory groups is looked at for.
        """

    def look(self, routes: list[Any], given: Any) -> dict[str, str]:
        """Shell commands that only read, by names of letters."""

    def plan(self, routes: list[Any], given: Any, printed: Mapping[str, str]) -> list[Proof]:
        """All proofs of these routes through the host, from itself and from others; and that the host's neighbours answer.

        The latter are claims about the host, whatever the routes; their checks stand at :data:`.checks.NEIGHBOURS`.

        :param printed: what the commands of :meth:`look` said, by name; one that could not be run is missing.
        """

    def certificates(self, routes: list[Any], given: Any, printed: Mapping[str, str]) -> list[dict[str, Any]]:
        """The certificates that lie on the host, as :func:`.report.certificate` makes them."""

    def summary(self, route: Any) -> Summary:
        """The route for the report."""
