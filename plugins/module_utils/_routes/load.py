# SPDX-License-Identifier: GPL-3.0-or-later
"""From what a user wrote to complete routes: entries read one by one, then checked against each other."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Optional

from .._errors import EdgeError
from .._lists import DEFAULT
from .._schema import kinds
from .._schema.fields import choice, from_json, given, list_of, mapping, meant, quoted, read, refuse, wrong_type
from . import survey
from .parts import Gateway, SecretName
from .schema import Route, enforceable

NAMESPACE = "edgemesh"
CA = "edge-ca"


@dataclass(frozen=True)
class Run:
    """Settings of all routes of a run.

    :param namespace: where Secrets lie that are named without one (``edge_namespace``).
    :param ca: the private CA's Secret, which vouches for gateways where a route names no other (``edge_ca``).
    :param list_name: the name of the list (``edge_list``).
    """

    namespace: str = NAMESPACE
    ca: str = CA
    list_name: str = DEFAULT


def load(
    routes: Any,
    gateways: Any = None,
    flat: Optional[Mapping[str, Any]] = None,
    namespace: str = NAMESPACE,
    ca: str = CA,
    list_name: str = DEFAULT,
) -> list[Route]:
    """Complete routes, in the order given, without those that are said to be absent (:func:`absent`).

    :param routes: a list of entries, a dictionary of them by name, or JSON text of either.
    :param gateways: the same for gateways; without any there is one, ``main``, with the schema's defaults.
    :param flat: a survey's variables; they make one route when ``routes`` is empty.
    :param namespace: where Secrets lie that are named without one (``edge_namespace``).
    :param ca: the private CA's Secret, which vouches for gateways where a route names no other (``edge_ca``).
    :param list_name: the name of the list (``edge_list``).
    :raises EdgeError: names the entry and the field.
    """
    run = Run(kinds.dns_label(namespace, "edge_namespace"), kinds.object_name(ca, "edge_ca"), kinds.dns_label(list_name, "edge_list"))
    route_entries, gateway_entries = entries(routes, "edge_routes"), entries(gateways, "edge_gateways")
    flat = {name: value for name, value in (flat or {}).items() if given(value)}
    if not survey.describes_route(flat):
        return _load(route_entries, gateway_entries, run)
    if route_entries:
        raise refuse("edge_routes", "and edge_host are both given", "Describe the route in one of the two")
    if survey.goes(flat):
        return []
    try:
        return _load([survey.route(flat)], gateway_entries or [survey.gateway(flat)], run)
    except EdgeError as error:
        where = survey.variable(error.where)
        raise EdgeError(error.what, where=where, why=error.why, fix=error.fix, code=error.code) from None


def absent(routes: Any, flat: Optional[Mapping[str, Any]] = None) -> list[str]:
    """The names of the routes that shall go (``state: absent``); nothing else of such an entry is looked at.

    :raises EdgeError: names the entry and the field.
    """
    listed = entries(routes, "edge_routes")
    flat = {name: value for name, value in (flat or {}).items() if given(value)}
    if not listed and survey.goes(flat):
        return [kinds.name(survey.name(flat), "edge_name")]
    numbered = [(place("edge_routes", index, entry), entry) for index, entry in enumerate(listed)]
    return [kinds.name(entry.get("name"), f"{where}.name") for where, entry in numbered if not _present(entry, where)]


def _present(entry: Mapping[str, Any], where: str) -> bool:
    return not given(entry.get("state")) or choice("present", "absent")(entry["state"], f"{where}.state") == "present"


def _load(route_entries: list[Any], gateway_entries: list[Any], run: Run) -> list[Route]:
    known = load_gateways(gateway_entries)
    places = [place("edge_routes", index, entry) for index, entry in enumerate(route_entries)]
    _unique((str(entry.get("name") or index) for index, entry in enumerate(route_entries)), "edge_routes", "name")
    listed = [(where, entry) for where, entry in zip(places, route_entries) if _present(entry, where)]
    made = [
        _complete(read(Route, {key: value for key, value in entry.items() if key != "state"}, where), known, where, run)
        for where, entry in listed
    ]
    _no_overlap(made)
    return made


def load_gateways(gateway_entries: list[Any]) -> dict[str, Gateway]:
    """Gateways by name."""
    made = [read(Gateway, entry, place("edge_gateways", index, entry)) for index, entry in enumerate(gateway_entries)]
    _unique((gateway.name for gateway in made), "edge_gateways", "name")
    return {gateway.name: gateway for gateway in made or [Gateway(name="main")]}


def gateways(value: Any) -> list[Gateway]:
    """Complete gateways, those too that no route uses; none where none is given."""
    given_entries = entries(value, "edge_gateways")
    return list(load_gateways(given_entries).values()) if given_entries else []


def entries(value: Any, where: str) -> list[Any]:
    """A list of entries from a list, a dictionary by name, or JSON text of either."""
    if not given(value):
        return []
    if isinstance(value, str):
        value = from_json(value, where)
    if isinstance(value, Mapping):
        return [{"name": name, **mapping(entry if given(entry) else {}, f"{where}.{name}")} for name, entry in value.items()]
    if not isinstance(value, (list, tuple)):
        raise wrong_type(value, where, "a list")
    return list(list_of(mapping)(value, where))


def place(where: str, index: int, entry: Any) -> str:
    """``edge_routes[2] (shop)``: the entry by number, and by name where it has one."""
    name = entry.get("name") if isinstance(entry, Mapping) else None
    return f"{where}[{index}] ({name})" if isinstance(name, str) and name.isprintable() and len(name) < 64 else f"{where}[{index}]"


def _complete(route: Route, gateways: dict[str, Gateway], where: str, run: Run) -> Route:
    name = route.gateway.name or (next(iter(gateways)) if len(gateways) == 1 else "")
    if not name:
        raise refuse(f"{where}.gateway", "is missing, and there are several", f"Choose one of: {', '.join(gateways)}")
    if name not in gateways:
        raise refuse(f"{where}.gateway", f"{quoted(name)} is not in edge_gateways", meant(name, gateways))
    if route.list_name not in ("", run.list_name):
        raise refuse(f"{where}.list_name", f"is not {quoted(run.list_name)}", "Set the variable edge_list, which holds for the whole run")
    made: Route = _named(dataclasses.replace(route, gateway=gateways[name], list_name=run.list_name), run)
    enforceable(made, f"{where}.access")
    return made


def _named(value: Any, run: Run) -> Any:
    """Secrets that are named without a namespace, or not named at all, get the run's."""
    if isinstance(value, SecretName):
        return SecretName(value.namespace or run.namespace, value.name or run.ca)
    if isinstance(value, list):
        return [_named(item, run) for item in value]
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        return value
    return dataclasses.replace(value, **{field.name: _named(getattr(value, field.name), run) for field in dataclasses.fields(value)})


def _unique(names: Iterable[str], where: str, key: str) -> None:
    seen: dict[str, int] = {}
    for index, name in enumerate(names):
        if name in seen:
            raise refuse(
                f"{where}[{index}].{key}",
                f"{quoted(name)} is taken by {where}[{seen[name]}]",
                "Objects and files are named after it: choose another",
            )
        seen[name] = index


def _no_overlap(routes: list[Route]) -> None:
    """One host belongs to one route, on a listener and at a gateway; so does an SNI, unless the Gateway isn't ours."""
    owner: dict[tuple[Any, ...], tuple[int, str]] = {}
    for index, route in enumerate(routes):
        where = f"edge_routes[{index}] ({route.name})"
        gateway, listen, server_name = route.gateway, route.listen, route.upstream_tls.server_name
        claims: list[tuple[tuple[Any, ...], str]] = [(("host", "on", route.on, listen.port, host), host) for host in route.hosts]
        claims += [(("host", "gateway", gateway.name, host), host) for host in route.hosts]
        if not gateway.istio_gateway:
            claims += [(("sni", gateway.name, name), name) for name in {*route.hosts, server_name}]
        for claim, name in claims:
            other, other_name = owner.setdefault(claim, (index, route.name))
            if other == index:
                continue
            if claim[0] == "sni" and name not in route.hosts:
                raise refuse(
                    f"{where}.upstream_tls.server_name", f"{quoted(name)} is the SNI of route {other_name} too",
                    "Attach both to one Gateway (istio_gateway), or give each its own name",
                    why="a gateway has one certificate for one SNI",
                )  # fmt: skip
            raise refuse(f"{where}.hosts", f"{quoted(name)} belongs to route {other_name} already", "Put its paths into that one route")
