"""What the filters call: plain data in, plain data out."""

from __future__ import annotations

from typing import Any

from .. import _values as values
from .._routes.access import networks
from .._schema.fields import list_of, text
from . import plan, probes, seen

Dict = dict[str, Any]


def planned(gateways: list[Dict], routes: list[Dict], objects: list[Dict], options: Dict) -> Dict:
    """See access_plan.yml."""
    live = plan.Live(objects)
    every = _every(gateways, routes)
    if options.get("state") == "absent":
        return {"settings": plan.restored(every, live), "policies": [], "gateways": every}
    made = plan.plan(every, routes, live, check=bool(options.get("check")), sets_topology=bool(options.get("topology", True)))
    return {**made, "gateways": every, "unlike": plan.unlike(every, live) if options.get("topology", True) else []}


def probed(gateways: list[Dict], routes: list[Dict], options: Dict) -> Dict:
    """See access_probes.yml."""
    every = _every(gateways, routes)
    if "objects" not in options:
        entries = {name: [values.endpoint(each, f"entries.{name}") for each in given] for name, given in options["entries"].items()}
        return {"asked": probes.through(every, routes, entries, options["run"])}
    live = plan.Live(options["objects"])
    ports = {each["name"]: port for each in every if (port := probes.target_port(each, live.service(each))) is not None}
    return probes.pods(every, routes, live, ports, int(options.get("consecutive", 1)))


def judged(gateways: list[Dict], routes: list[Dict], asked: list[Dict], options: Dict) -> list[Dict]:
    """See access_seen.yml."""
    every = _every(gateways, routes)
    logs = {each["gateway"]: each["lines"] for each in options["log"]}
    lines = {each["name"]: logs.get(f"{each['namespace']}/{each['service']}", []) for each in every}
    clients = {who: [each for each in map(seen.plain, given) if each] for who, given in options.get("clients", {}).items()}
    clients.update({each: [each] for each in networks(options.get("own_clients", []), "gateway_access_control_own_clients")})
    own = [each for each in map(seen.plain, list_of(text)(options.get("own", []), "own")) if each]
    return probes.judge(every, routes, asked, lines, plan.Live(options["objects"]), clients, own)


def _every(gateways: list[Dict], routes: list[Dict]) -> list[Dict]:
    """The gateways that are listed, and those that flat variables have made for a route."""
    return list({each["name"]: each for each in [*gateways, *(route["gateway"] for route in routes)]}.values())
