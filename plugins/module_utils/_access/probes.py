"""What to ask on the wire: a marked request through the front before anything changes, and every pod of a gateway afterwards."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import Any, Optional

from .._address import split
from .._loose import mapping, mappings
from . import lockout, seen
from .plan import Live, effective

Dict = dict[str, Any]
# Stands for the addresses of the hops between the client and the last proxy.
_HOP = "192.0.2.78"
# Nobody's networks (RFC 5737, RFC 3849): somebody whom no list names.
_NOBODY = ("192.0.2.79", "198.51.100.79", "203.0.113.79", "2001:db8::79")
_DENIED: Dict = {"status": [403], "body_contains": "RBAC: access denied"}
_ANSWERED: Dict = {"status": ["100-599"]}

# Policies of a whole gateway are asked before anything is routed.
_NO_ROUTE: Dict = {
    "name": "any host",
    "host": "edgemesh-probe.invalid",
    "access": None,
    "upstream_tls": {"mode": "simple", "server_name": ""},
    "probe": {"method": "GET", "path": "/"},
}


def agent(run: str, number: int) -> str:
    """The user agent by which a request is known in the log."""
    return f"edgemesh-access/{run}/{number}"


def through(gateways: list[Dict], routes: list[Dict], entries: dict[str, list[str]], run: str) -> list[Dict]:
    """One request through each entry, as edge_probe takes it, with ``gateway`` beside it."""
    made: list[Dict] = []
    for gateway in gateways:
        for entry in entries.get(gateway["name"], []):
            route = _askable([each for each in routes if each["gateway"]["name"] == gateway["name"]], gateway["front"])
            if route is None:
                continue
            name = agent(run, len(made))
            headers = {"User-Agent": name, "X-Forwarded-For": seen.MARKER}
            probe = {**_request(route, gateway, entry, headers), "name": name, "expect": _ANSWERED}
            made.append({"gateway": gateway["name"], "entry": entry, "agent": name, "probe": probe})
    return made


def _askable(routes: list[Dict], front: Dict) -> Optional[Dict]:
    """A route whose requests the gateway can see, and that asks us for no certificate."""
    ends_tls = [route for route in routes if route["upstream_tls"]["mode"] != "passthrough"]
    if front["kind"] == "http_proxy":
        return next(iter(ends_tls), None)
    return next((route for route in ends_tls if route["upstream_tls"]["mode"] == "simple"), None)


def _request(route: Dict, gateway: Dict, endpoint: str, headers: Dict, straight: bool = False) -> Dict:
    """The route's own probe, to its HTTP proxy, or ``straight`` to the gateway behind it."""
    address, port = split(endpoint)
    tls: Optional[Dict] = None if route is _NO_ROUTE else {"sni": route["upstream_tls"]["server_name"], "rules": "none"}
    if gateway["front"]["kind"] == "http_proxy" and not straight:
        tls = {"sni": route["host"], "rules": "none"} if route["listen"]["tls"] else None
    probe = route["probe"]
    http = {"method": probe["method"], "path": probe["path"], "host": route["host"], "headers": headers}
    return {"address": address, "port": port, "http": http, **({"tls": tls} if tls else {})}


def judge(
    gateways: list[Dict], routes: list[Dict], asked: list[Dict], lines: dict[str, list[str]], live: Live, clients: Dict, own: list[str]
) -> list[Dict]:
    """What arrived, by entry.

    :param asked: what :func:`through` made. :param lines: the log of each gateway, by name.
    :param clients: who has to be let in -> addresses. :param own: the addresses of the host that asked.
    :raises EdgeError: where a front is not what is seen, or access would lock somebody out.
    """
    reports = []
    for gateway in gateways:
        arrived = []
        for each in asked:
            found = seen.seen(each["entry"], lines.get(gateway["name"], []), each["agent"]) if each["gateway"] == gateway["name"] else None
            if found:
                seen.fits(found, gateway)
                arrived.append(found)
        known = {seen.client(each, gateway["front"], true_source(gateway, live)) for each in arrived} - {""}
        of_gateway = [route for route in routes if route["gateway"]["name"] == gateway["name"]]
        lockout.check(gateway, of_gateway, {**clients, "this run's own client": sorted(known) or own})
        reports += [{"gateway": gateway["name"], **seen.report(each, gateway["front"])} for each in arrived]
    return reports


def true_source(gateway: Dict, live: Live) -> bool:
    """Whether the gateway sees already now where a connection comes from."""
    if gateway["front"]["kind"] == "tcp_proxy":
        return any("proxyProtocol" in (effective(pod) or {}) for pod in live.pods(gateway))
    return mapping((live.service(gateway) or {}).get("spec")).get("externalTrafficPolicy") == "Local"


def pods(gateways: list[Dict], routes: list[Dict], live: Live, ports: dict[str, int], consecutive: int) -> Dict:
    """Probes of every pod of every gateway: ``connect``, whether it can be reached from here, and ``paths``, whether it has taken it in."""
    made: Dict = {"connect": [], "paths": []}
    for gateway in gateways:
        port = ports.get(gateway["name"])
        for pod in live.pods(gateway) if port else ():
            address = mapping(pod.get("status")).get("podIP")
            if not address:
                continue
            endpoint = f"{address}:{port}"
            name = f"{gateway['name']} {pod['metadata']['name']}"
            made["connect"].append({"name": name, "address": address, "port": port})
            plain = _plain_text(gateway, live.service(gateway))
            for number, probe in enumerate(_answers(gateway, routes, endpoint, plain)):
                made["paths"].append({**probe, "name": f"{name} {number}: {probe['name']}", "consecutive": consecutive})
    return made


def _answers(gateway: Dict, routes: list[Dict], endpoint: str, plain: bool) -> Iterator[Dict]:
    """What a pod has to answer, for each route that asks no certificate of us; for none of its hosts where there is no route."""
    front = gateway["front"]
    of_gateway = [route for route in routes if route["gateway"]["name"] == gateway["name"]]
    for route in of_gateway or ([_NO_ROUTE] if plain else []):
        if route["upstream_tls"]["mode"] != "simple":
            continue
        if front["kind"] != "http_proxy" or front["proxies"]:
            # We are no proxy that it believes, so it knows us by our own address; that it speaks to us is all that can be said.
            probe = {**_request(route, gateway, endpoint, {}, straight=True), "expect": _ANSWERED}
            yield {**probe, "name": route["name"], **({"proxy_protocol": "v2"} if front["kind"] == "tcp_proxy" else {})}
            continue
        for client, admitted in samples([each for each in (gateway["access"], route["access"]) if each], route["probe"]):
            forwarded = {"X-Forwarded-For": ", ".join([client, *[_HOP] * (front["hops"] - 1)])}
            expect = {"status": _right(route)} if admitted else _DENIED
            request = _request(route, gateway, endpoint, forwarded, straight=True)
            yield {**request, "name": f"{route['name']} {'lets in' if admitted else 'denies'} {client}", "expect": expect}


def _right(route: Dict) -> list[str]:
    """Answers to a request that no list stops; a host that nobody serves is answered 404."""
    return ["100-402", "404-599"] if route is _NO_ROUTE else [str(route["probe"]["status"])]


def _plain_text(gateway: Dict, service: Optional[Dict]) -> bool:
    """Whether the gateway's port speaks HTTP without TLS, by its name in the Service as Istio reads it."""
    for port in mappings(mapping((service or {}).get("spec")).get("ports")):
        if gateway["port"] in (str(port.get("port")), port.get("name")):
            return str(port.get("name")).partition("-")[0] in ("http", "http2")
    return False


def samples(lists: list[Dict], request: Dict) -> list[tuple[str, bool]]:
    """A client whose ``request`` all lists let in, and for each of them one whose request it denies, where there are such."""
    named = [
        str(ipaddress.ip_network(network).network_address)
        for each in lists
        for rule in (*each["allow"], *each["deny"])
        for network in (*rule["addresses"], *rule["not_addresses"])
    ]
    candidates = list(dict.fromkeys([*named, *_NOBODY]))
    inside = [each for each in candidates if all(comes_in(one, each, request) for one in lists)]
    outside = [next((each for each in candidates if not comes_in(one, each, request)), "") for one in lists]
    return [*((each, True) for each in inside[:1]), *((each, False) for each in dict.fromkeys(outside) if each)]


def comes_in(access: Dict, client: str, request: Dict) -> bool:
    """Whether this very request, which carries neither a token nor a certificate, comes in from this client."""

    def fits(rule: Dict) -> bool:
        return (
            not (rule["claims"] or rule["identities"])
            and (not rule["methods"] or request["method"] in rule["methods"])
            and (not rule["paths"] or any(_like(request["path"], pattern) for pattern in rule["paths"]))
            and lockout.from_there(rule, client)
        )

    return (not access["allow"] or any(map(fits, access["allow"]))) and not any(map(fits, access["deny"]))


def _like(path: str, pattern: str) -> bool:
    if pattern.startswith("*"):
        return path.endswith(pattern[1:])
    return path.startswith(pattern[:-1]) if pattern.endswith("*") else path == pattern


def target_port(gateway: Dict, service: Optional[Dict]) -> Optional[int]:
    """The port of the gateway's pods; None where it has only a name."""
    for port in mappings(mapping((service or {}).get("spec")).get("ports")):
        if gateway["port"] in (str(port.get("port")), port.get("name")):
            target = str(port.get("targetPort", port.get("port")))
            return int(target) if target.isdigit() else None
    return None
