"""The probes of a diagnosis, as entries of edge_probe's ``paths``. Pure.

1. Through nginx, and past nginx exactly the request that nginx sends to each upstream address (:func:`first_look`).
2. In turn with requests that reach the same upstream with another TLS identity, which nginx may lend (:func:`turns`).
3. Where these fail, the same corrected step by step: scheme, server name, HTTP version, Host (:func:`ladder`). The first failure is the
   root cause, those of later steps would have come next.
"""

from __future__ import annotations

import re
from typing import Any

from .._address import join
from .._nginx.read.effective import Effective, Listen, Neighbour, Proxy

THROUGH = "through nginx"
CORRECTED = "corrected for "
#: causes for which no connection came about
TCP = ("CONNECTION_REFUSED", "CONNECT_TIMEOUT", "HOST_UNREACHABLE", "DNS_NO_ADDRESS", "CONNECT_DENIED")
# at most so many requests go ahead to leave sessions and connections behind
_MOST_TURNS = 8

Options = dict[str, Any]
Result = dict[str, Any]


def first_look(way: Effective | None, host: str, path: str, gateway: list[tuple[str, int]], port: int | None = None) -> list[Options]:
    """A request through nginx, and the request that nginx sends to each upstream address.

    Where there is no nginx: a good request to the gateway, or, where no gateway is given, to the host name itself.
    """
    if way is None or way.listen is None:
        targets = gateway or [(host, port or 443)]
        return [
            {
                "name": f"{'gateway' if gateway else 'as a client to'} {join(*target)}",
                "address": target[0],
                "port": target[1],
                **_correct(host, path),
            }
            for target in targets
        ]
    through = {"name": THROUGH, **_through(way, host, way.host, path)}
    if way.proxy is None:
        return [through, *({"name": f"as a client to {join(*target)}", **_passed(way, path, *target)} for target in way.passed)]
    proxy = way.proxy
    return [through, *({"name": f"as nginx to {join(*target)}", **replay(proxy, *target)} for target in proxy.addresses)]


def _passed(way: Effective, path: str, address: str, port: int) -> Options:
    """A client's connection past an nginx that passes TLS on unopened."""
    before = {"proxy_protocol": "v1"} if way.passed_tells else {}
    return {"address": address, "port": port, **before, **_correct(way.host, path)}


def turns(way: Effective | None, host: str, path: str) -> list[Options]:
    """For each neighbour three probes, in turn: ours after its request over one connection, its after ours, its own past nginx.

    Requests that go ahead are HEAD, and as many as there are addresses, so that nginx has a session and a connection to each.
    """
    options: list[Options] = []
    if way is None or way.proxy is None or way.asks_client_certificate:
        return options
    times = min(max(2, len(way.proxy.addresses)), _MOST_TURNS)
    for each in way.neighbours:
        first, then, alone = turn_names(each, host, path)
        here, there = {"host": _host_header(way, way.host), "path": path}, {"host": _host_header(way, each.host), "path": each.path}
        options.append({"name": first, "in_turn": True, **_through(way, host, way.host, path, [there] * times)})
        options.append({"name": then, "in_turn": True, **_through(way, host, each.host, each.path, [here] * times)})
        options.append({"name": alone, "in_turn": True, **replay(each.proxy, *each.proxy.addresses[0])})
    return options


def turn_names(neighbour: Neighbour, host: str, path: str) -> tuple[str, str, str]:
    """Names of the three probes for a neighbour: our request after its, its after ours, its alone."""
    other, own = f"{neighbour.host}{neighbour.path}", f"{host}{path}"
    return f"{THROUGH} after {other}", f"{other} {THROUGH} after {own}", f"as nginx for {other} to {join(*neighbour.proxy.addresses[0])}"


def _through(way: Effective, sni: str, host: str, path: str, after: list[Options] | None = None) -> Options:
    """A request through nginx, as its clients send it."""
    listen = way.listen or Listen("127.0.0.1", 80)
    http: Options = {"host": _host_header(way, host), "path": path}
    if after:
        http["after"] = after
    options: Options = {"address": listen.address, "port": listen.port, "http": http}
    if listen.tls:
        options["tls"] = {"sni": sni, "rules": "none"}
    if listen.proxy_protocol:
        options["proxy_protocol"] = "v1"
    return options


def replay(proxy: Proxy, address: str, port: int) -> Options:
    """The request that nginx sends to one upstream address."""
    options: Options = {
        "address": address,
        "port": port,
        "http": {"version": proxy.http_version, "path": proxy.path or "/", "host": proxy.host, "headers": proxy.headers},
    }
    if proxy.scheme == "https":
        options["tls"] = _tls(proxy)
    return options


def ladder(way: Effective, host: str, results: list[Result], gateway: list[tuple[str, int]]) -> list[Options]:
    """The replay corrected step by step, for the first address that fails but can be connected to; [] where nothing fails.

    Each server name that may be the right one has its own steps. Gateway addresses that nginx does not use are tried too.
    """
    proxy, failing = way.proxy, [each for each in results if each["name"] != THROUGH and each["code"]]
    if proxy is None or not failing:
        return []
    used = set(_addresses(way))
    options = [
        {"name": f"gateway {address}:{port}", "address": address, "port": port, **_correct(host, way.path)}
        for address, port in gateway
        if (address, port) not in used
    ]
    reached = next((each for each in failing if each["code"] not in TCP), None)
    if reached is not None:
        start = replay(proxy, *next(target for target in used if join(*target) == reached["target"]))
        for name in _names(proxy, host):
            options += [{"name": f"{CORRECTED}{name}: {step}", **changed} for step, changed in _steps(start, name, host, reached["code"])]
    return options


def _steps(start: Options, name: str, host: str, code: str) -> list[tuple[str, Options]]:
    """(corrections, probe), each with one correction more than the one before; without those that change nothing."""
    done: list[str] = []
    steps: list[tuple[str, Options]] = []
    now = start

    def step(what: str, changed: Options) -> Options:
        done.append(what)
        steps.append((", ".join(done), changed))
        return changed

    if code == "TLS_TO_PLAINTEXT_PORT" and "tls" in now:
        now = step("plain HTTP", {key: value for key, value in now.items() if key != "tls"})
    if code == "PLAINTEXT_TO_TLS_PORT" and "tls" not in now:
        now = step("TLS", {**now, "tls": {"sni": name, "rules": "none"}})
    if "tls" in now and now["tls"]["sni"] != name:
        now = step("SNI", {**now, "tls": {**now["tls"], "sni": name, "verify_name": name}})
    if now["http"]["version"] == "1.0":
        now = step("HTTP/1.1", {**now, "http": {**now["http"], "version": "1.1"}})
    for candidate in dict.fromkeys((host, name)):
        if now["http"]["host"].partition(":")[0] != candidate:
            step(f"Host {candidate}", {**now, "http": {**now["http"], "host": candidate}})
            done.pop()
    return steps


def _names(proxy: Proxy, host: str) -> list[str]:
    """Server names (SNI) that the gateway may expect: from the configuration, the public host name, the Host header."""
    given = proxy.ssl_name if proxy.places.get("proxy_ssl_name") else ""
    names = [proxy.sni, given, host, proxy.host.partition(":")[0]]
    return list(dict.fromkeys(name for name in names if name and "." in name and not re.fullmatch(r"[\d.]+|.*:.*", name)))[:3] or [host]


def _tls(proxy: Proxy) -> Options:
    tls: Options = {"sni": proxy.sni, "verify_name": proxy.ssl_name, "rules": "none"}
    if proxy.http_version == "2":
        tls["alpn"] = ["h2"]
    if proxy.verify:
        tls.update(rules="nginx", ca_file=proxy.ca, verify_depth=proxy.verify_depth)
    if proxy.certificate:
        tls["client"] = {"cert_file": proxy.certificate, "key_file": proxy.certificate_key or proxy.certificate}
    versions = sorted(text.replace("TLSv", "") if "." in text else "1.0" for text in proxy.protocols if text.startswith("TLS"))
    if versions and versions[-1] != "1.3":
        tls["max_version"] = versions[-1]
    if versions and versions[0] == "1.3":
        tls["min_version"] = "1.3"
    return tls


def _correct(host: str, path: str) -> Options:
    return {"tls": {"sni": host, "rules": "none"}, "http": {"host": host, "path": path}}


def _addresses(way: Effective) -> list[tuple[str, int]]:
    return way.proxy.addresses if way.proxy else []


def _host_header(way: Effective, host: str) -> str:
    listen = way.listen
    if listen is None or listen.port == (443 if listen.tls else 80):
        return host
    return f"{host}:{listen.port}"
