# SPDX-License-Identifier: GPL-3.0-or-later
"""The probes of a diagnosis. Pure.

1. Through nginx, and past nginx exactly the request that nginx sends to each upstream address (:func:`first_look`).
2. In turn with requests that reach the same upstream with another TLS identity, which nginx may lend (:func:`turns`).
3. Where these fail, the same corrected step by step: scheme, server name, HTTP version, Host (:func:`ladder`). The first failure is the
   root cause, those of later steps would have come next.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from .._address import join
from .._nginx.read.effective import Effective, Listen, Neighbour, Proxy
from .._probe.spec import Client, Http, Path, Tls

THROUGH = "through nginx"
CORRECTED = "corrected for "
#: causes for which no connection came about
TCP = ("CONNECTION_REFUSED", "CONNECT_TIMEOUT", "HOST_UNREACHABLE", "DNS_NO_ADDRESS", "CONNECT_DENIED")
# at most so many requests go ahead to leave sessions and connections behind
_MOST_TURNS = 8

Result = dict[str, Any]


def first_look(way: Effective | None, host: str, path: str, gateway: list[tuple[str, int]], port: int | None = None) -> list[Path]:
    """A request through nginx, and the request that nginx sends to each upstream address.

    Where there is no nginx: a good request to the gateway, or, where no gateway is given, to the host name itself.
    """
    if way is None or way.listen is None:
        who = "gateway" if gateway else "as a client to"
        return [_correct(f"{who} {join(*target)}", *target, host, path) for target in gateway or [(host, port or 443)]]
    through = _through(THROUGH, way, host, Http(path=path, host=way.host))
    if way.proxy is not None:
        return [through, *(replay(way.proxy, *target) for target in way.proxy.addresses)]
    # past an nginx that passes TLS on unopened
    told = "v1" if way.passed_tells else ""
    passed = [_correct(f"as a client to {join(*target)}", *target, way.host, path) for target in way.passed]
    return [through, *(replace(each, proxy_protocol=told) for each in passed)]


def turns(way: Effective | None, host: str, path: str) -> Iterator[Path]:
    """For each neighbour three probes, in turn: ours after its request over one connection, its after ours, its own past nginx.

    Requests that go ahead are HEAD, and as many as there are addresses, so that nginx has a session and a connection to each.
    """
    if way is None or way.proxy is None or way.asks_client_certificate:
        return
    times = min(max(2, len(way.proxy.addresses)), _MOST_TURNS)
    for each in way.neighbours:
        first, then, alone = turn_names(each, host, path)
        here, there = Http(path=path, host=way.host), Http(path=each.path, host=each.host)
        yield replace(_through(first, way, host, here, (there,) * times), in_turn=True)
        yield replace(_through(then, way, host, there, (here,) * times), in_turn=True)
        yield replace(replay(each.proxy, *each.proxy.addresses[0]), name=alone, in_turn=True)


def turn_names(neighbour: Neighbour, host: str, path: str) -> tuple[str, str, str]:
    """Names of the three probes for a neighbour: our request after its, its after ours, its alone."""
    other, own = f"{neighbour.host}{neighbour.path}", f"{host}{path}"
    return f"{THROUGH} after {other}", f"{other} {THROUGH} after {own}", f"as nginx for {other} to {join(*neighbour.proxy.addresses[0])}"


def _through(name: str, way: Effective, sni: str, request: Http, after: tuple[Http, ...] = ()) -> Path:
    """A request through nginx, as its clients send it."""
    listen = way.listen or Listen("127.0.0.1", 80)
    before = tuple(replace(each, method="HEAD", host=_host_header(listen, each.host)) for each in after)
    return Path(
        name,
        listen.address,
        listen.port,
        proxy_protocol="v1" if listen.proxy_protocol else "",
        tls=Tls(sni, rules="none") if listen.tls else None,
        http=replace(request, host=_host_header(listen, request.host), after=before),
    )


def replay(proxy: Proxy, address: str, port: int) -> Path:
    """The request that nginx sends to one upstream address."""
    http = Http(proxy.http_version, path=proxy.path or "/", host=proxy.host, headers=proxy.headers)
    return Path(f"as nginx to {join(address, port)}", address, port, tls=_tls(proxy) if proxy.scheme == "https" else None, http=http)


def ladder(way: Effective, host: str, results: list[Result], gateway: list[tuple[str, int]]) -> list[Path]:
    """The replay corrected step by step, for the first address that fails but can be connected to; [] where nothing fails.

    Each server name that may be the right one has its own steps. Gateway addresses that nginx does not use are tried too.
    """
    proxy, failing = way.proxy, [each for each in results if each["name"] != THROUGH and each["code"]]
    if proxy is None or not failing:
        return []
    paths = [_correct(f"gateway {join(*target)}", *target, host, way.path) for target in gateway if target not in proxy.addresses]
    reached = next((each for each in failing if each["code"] not in TCP), None)
    if reached is not None:
        start = replay(proxy, *next(target for target in proxy.addresses if join(*target) == reached["target"]))
        for name in _names(proxy, host):
            paths += [replace(each, name=f"{CORRECTED}{name}: {each.name}") for each in _steps(start, name, host, reached["code"])]
    return paths


def _steps(now: Path, name: str, host: str, code: str) -> Iterator[Path]:
    """Each with one correction more than the one before, and named by its corrections; without those that change nothing."""
    now, http = replace(now, name=""), now.http or Http()

    def step(what: str, changed: Path) -> Path:
        return replace(changed, name=f"{now.name}, {what}" if now.name else what)

    if code == "TLS_TO_PLAINTEXT_PORT" and now.tls:
        yield (now := step("plain HTTP", replace(now, tls=None)))
    if code == "PLAINTEXT_TO_TLS_PORT" and not now.tls:
        yield (now := step("TLS", replace(now, tls=Tls(name, rules="none"))))
    if now.tls and now.tls.sni != name:
        yield (now := step("SNI", replace(now, tls=replace(now.tls, sni=name, verify_name=name))))
    if http.version == "1.0":
        http = replace(http, version="1.1")
        yield (now := step("HTTP/1.1", replace(now, http=http)))
    for candidate in dict.fromkeys((host, name)):
        if http.host.partition(":")[0] != candidate:
            yield step(f"Host {candidate}", replace(now, http=replace(http, host=candidate)))


def _names(proxy: Proxy, host: str) -> list[str]:
    """Server names (SNI) that the gateway may expect: from the configuration, the public host name, the Host header."""
    given = proxy.ssl_name if proxy.places.get("proxy_ssl_name") else ""
    names = [proxy.sni, given, host, proxy.host.partition(":")[0]]
    return list(dict.fromkeys(name for name in names if name and "." in name and not re.fullmatch(r"[\d.]+|.*:.*", name)))[:3] or [host]


def _tls(proxy: Proxy) -> Tls:
    versions = sorted(text.replace("TLSv", "") if "." in text else "1.0" for text in proxy.protocols if text.startswith("TLS"))
    tls = Tls(
        proxy.sni,
        proxy.ssl_name,
        rules="none",
        client=Client(proxy.certificate, proxy.certificate_key or proxy.certificate) if proxy.certificate else None,
        alpn=("h2",) if proxy.http_version == "2" else (),
        min_version="1.3" if versions[:1] == ["1.3"] else "",
        max_version=versions[-1] if versions and versions[-1] != "1.3" else "",
    )
    return replace(tls, rules="nginx", ca_file=proxy.ca, verify_depth=proxy.verify_depth) if proxy.verify else tls


def _correct(name: str, address: str, port: int, host: str, path: str) -> Path:
    return Path(name, address, port, tls=Tls(host, rules="none"), http=Http(path=path, host=host))


def _host_header(listen: Listen, host: str) -> str:
    return host if listen.port == (443 if listen.tls else 80) else f"{host}:{listen.port}"
