# SPDX-License-Identifier: GPL-3.0-or-later
"""The result of reading a run's variables, for all later tasks."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .._errors import EdgeError
from .._lists import DEFAULT, Run
from .._schema.fields import boolean, choice, given, list_of
from .._schema.typed import build
from . import survey
from .load import CA, NAMESPACE, absent, gateways, load
from .parts import Gateway
from .schema import Route

#: The variables that make the list of routes. No role, filter or action has others for it.
LISTS = ("edge_routes", "edge_gateways", "edge_namespace", "edge_ca", "edge_issue", "edge_list", "edge_exclusive")
VARIABLES = (*LISTS, *survey.VARIABLES)
#: The certificates that the private CA may issue: the gateway's, nginx's as its client, and nginx's towards its own clients.
LEAVES = ("gateway", "client", "listener")
#: Browsers don't know a private CA.
ISSUED = ["gateway", "client"]


@dataclass(frozen=True)
class Reading:
    """Checked routes, and what they were made from.

    :ivar digest: of the variables; another digest asks for another reading.
    :ivar gateways: all that are declared, those too that no route uses.
    :ivar namespace: where Secrets lie that are named without one.
    :ivar ca: the private CA's Secret, in ``namespace``.
    :ivar issue: those of :data:`LEAVES` that the private CA issues.
    :ivar list_name: whose routes they are.
    :ivar absent: names of routes that shall go.
    :ivar exclusive: whether the list's other routes go too.
    """

    digest: str
    routes: list[Route]
    gateways: list[Gateway]
    namespace: str
    ca: str
    issue: list[str]
    list_name: str = DEFAULT
    absent: list[str] = field(default_factory=list)
    exclusive: bool = False

    @property
    def run(self) -> Run:
        """What this run may change and takes away."""
        return Run(self.list_name, frozenset(route.name for route in self.routes), frozenset(self.absent), self.exclusive)

    @classmethod
    def of_variables(cls, variables: Mapping[str, Any]) -> Reading:
        """Reads and checks.

        :param variables: those of :data:`VARIABLES` that are set.
        :raises EdgeError: names the variable, the entry and the field.
        """
        namespace, ca = variables.get("edge_namespace") or NAMESPACE, variables.get("edge_ca") or CA
        flat = {name: variables[name] for name in survey.VARIABLES if name in variables}
        listed, asked = variables.get("edge_gateways"), variables.get("edge_issue")
        issue = list_of(choice(*LEAVES))(asked, "edge_issue") if given(asked) else ISSUED
        exclusive = given(variables.get("edge_exclusive")) and boolean(variables["edge_exclusive"], "edge_exclusive")
        list_name = variables.get("edge_list") or DEFAULT
        routes = load(variables.get("edge_routes"), listed, flat, namespace, ca, list_name)
        return cls(
            digest(variables), routes, gateways(listed), str(namespace).strip(), str(ca).strip(), issue,
            str(list_name).strip(), absent(variables.get("edge_routes"), flat), exclusive,
        )  # fmt: skip

    @classmethod
    def of(cls, text: str) -> Reading:
        """:raises EdgeError: for a text that is none of :meth:`text`."""
        try:
            found = json.loads(text)
            routes, listed = [Route.of(each) for each in found["routes"]], [build(Gateway, each) for each in found["gateways"]]
            return cls(**{**found, "routes": routes, "gateways": listed})
        except (ValueError, TypeError, KeyError):
            raise EdgeError("the text is not a result of read_routes", fix="Pass edge__read unchanged") from None

    def text(self) -> str:
        """To be carried between tasks. Of some hundred routes Ansible would take a second to look at every value again."""
        return json.dumps({**dataclasses.asdict(self), "routes": [route.as_dict() for route in self.routes]})


def digest(variables: Mapping[str, Any]) -> str:
    """Equal for equal variables."""
    given = {name: variables[name] for name in sorted(variables) if variables[name] is not None}
    return hashlib.sha256(json.dumps(given, sort_keys=True, default=str).encode()).hexdigest()


def is_of(text: Any, wanted: str) -> bool:
    """Whether a text is a reading of the variables with this digest, without reading it."""
    return isinstance(text, str) and text.startswith(json.dumps({"digest": wanted})[:-1])
