# SPDX-License-Identifier: GPL-3.0-or-later
"""Lists of routes belong to somebody: what a run of one list may change, what it takes away, and what it must leave alone.

The one place that decides it, for objects in the cluster (by labels), Secrets (by their users), and files on a VM (by the manifest).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from ._errors import EdgeError

#: The list of those who name none, and of everything that was made before there were lists.
DEFAULT = "default"
#: The code of every refusal of what another list owns.
OTHER_LIST = "OTHER_LIST"


@dataclass(frozen=True, order=True)
class Owner:
    """Whose something is.

    :ivar route: empty where it is the list's as a whole, such as what it says of a gateway.
    """

    list_name: str = DEFAULT
    route: str = ""

    def __str__(self) -> str:
        return f"route {self.route} of list {self.list_name}" if self.route else f"list {self.list_name}"

    @property
    def key(self) -> str:
        """``list/route``, as manifests and annotations have it."""
        return f"{self.list_name}/{self.route}"

    @classmethod
    def of_key(cls, text: str) -> Owner:
        """What :attr:`key` wrote."""
        name, _slash, route = text.partition("/")
        return cls(name or DEFAULT, route)


@dataclass(frozen=True)
class Run:
    """What one run says: its list, the routes that it makes, those that it takes away by name, and whether all others of the list go.

    :ivar all_lists: whether it ends all lists: only ever by name, in a teardown.
    """

    list_name: str = DEFAULT
    present: frozenset[str] = field(default_factory=frozenset)
    absent: frozenset[str] = field(default_factory=frozenset)
    exclusive: bool = False
    all_lists: bool = False

    @classmethod
    def teardown(cls, name: str, all_lists: bool = False) -> Run:
        """The end of a whole list, or of all."""
        return cls(name, exclusive=True, all_lists=all_lists)

    def takes(self, owner: Owner) -> bool:
        """Whether this run takes away what this owner has and the run doesn't make (any more).

        Other lists' things never, unless all lists end; of its own list what belongs to a route that is listed, or said to be absent;
        with ``exclusive`` all.
        """
        mine = owner.list_name == self.list_name
        return self.all_lists or (mine and (self.exclusive or owner.route in self.present or owner.route in self.absent))

    def refuse(self, owners: Iterable[Owner], what: str, where: str, fix: str = "") -> None:
        """Stop where one of ``owners`` is another list's.

        :param what: is owned, as a sentence begins: "host shop.example.com on port 443 of this VM".
        :raises EdgeError: OTHER_LIST, naming whose it is.
        """
        for owner in sorted(owners):
            if owner.list_name != self.list_name:
                raise other_list(what, where, owner, fix)


def other_list(what: str, where: str, owner: Owner, fix: str = "") -> EdgeError:
    """The refusal of what another list owns."""
    return EdgeError(
        f"{what} belongs to {owner}", where=where, why="a run changes nothing of another list's",
        fix=fix or f"Choose another, or change it in list {owner.list_name} (edge_list)", code=OTHER_LIST,
    )  # fmt: skip


def owner_of(labels: Any, list_label: str, route_label: str) -> Owner:
    """Whose an object with these labels is."""
    found = labels if isinstance(labels, dict) else {}
    return Owner(str(found.get(list_label) or DEFAULT), str(found.get(route_label) or ""))
