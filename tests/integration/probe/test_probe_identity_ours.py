# SPDX-License-Identifier: GPL-3.0-or-later
"""Our configuration gives nginx no occasion to lend identities: routes of every kind, by turns, over warm connections."""

from __future__ import annotations

import itertools
import os
import random
from pathlib import Path
from typing import Any

import pytest
from identity_rig import HOSTS, IdentityGateway, Seen, ask, running
from probe_rig import Nginx
from probe_session import diagnose_nginx

from tests.unit.nginx.nginx_rendering import plan, render

LONG = bool(os.environ.get("EDGEMESH_SOAK"))
A, B, C, D = HOSTS[:4]

Routes = list[dict[str, Any]]


def route(host: str, client: str = "", **changes: Any) -> dict[str, Any]:
    """A route as a user writes it. ``client`` "" has no certificate; keys: gateway, ca, verify, depth, sni, keepalive."""
    tls: dict[str, Any] = {
        "mode": "simple",
        "server_ca": {"file": f"/pki/{changes.get('ca', 'ca')}.crt"},
        "server_name": changes.get("sni", host),
    }
    if client:
        tls.update(mode="mutual", client_certificate={"cert_file": f"/pki/{client}.crt", "key_file": f"/pki/{client}.key"})
        tls.update(client_ca="edge-ca")
    if "verify" in changes:
        tls["verify"] = changes["verify"]
    if "depth" in changes:
        tls["verify_depth"] = changes["depth"]
    return {
        "name": host.partition(".")[0], "host": host, "gateway": changes.get("gateway", "main"), "listen": {"tls": False, "port": "{port}"},
        "upstream_tls": tls, "proxy": {"keepalive": changes.get("keepalive", 64)},
        "paths": [{"path": "/", "service": {"namespace": "shop", "name": "web", "port": 8000}}],
    }  # fmt: skip


#: what each mixture shows at once: the routes, and the listeners that each gateway's addresses are
MIXTURES: dict[str, tuple[Routes, dict[str, list[str]]]] = {
    "with and without a certificate, one server name": ([route(A, "alice"), route(B, sni=A)], {"main": ["open"]}),
    "who has none is refused": ([route(A, "alice", sni=A), route(B, sni=A)], {"main": ["strict"]}),
    "two certificates of one CA": ([route(A, "alice", sni=C), route(B, "bob", sni=C)], {"main": ["open"]}),
    "certificates of two CAs, and none": ([route(A, "alice", sni=D), route(B, "carol", sni=D), route(C, sni=D)], {"main": ["open"]}),
    "one certificate, several server names": ([route(A, "alice"), route(B, "alice"), route(C, "alice")], {"main": ["open"]}),
    "certificates and server names": ([route(A, "alice"), route(B, "bob"), route(C), route(D, "carol")], {"main": ["open"]}),
    "two CAs that vouch for the gateway": ([route(A, "alice", sni=A), route(B, "alice", sni=A, ca="both-cas")], {"main": ["open"]}),
    "a wrong CA beside the right one": ([route(A, sni=A), route(B, sni=A, ca="other-ca")], {"main": ["open"]}),
    "verified or not": ([route(A, "alice", sni=A, verify=False), route(B, "alice", sni=A, ca="other-ca")], {"main": ["open"]}),
    "how deep verified": ([route(A, sni=A, depth=1), route(B, sni=A, depth=3)], {"main": ["open"]}),
    "two gateways": (
        [route(A, "alice", sni=A), route(B, "bob", sni=A, gateway="other", ca="other-ca")], {"main": ["open"], "other": ["second"]},
    ),
    "two gateways at one address": ([route(A, "alice", sni=A), route(B, sni=A, gateway="other")], {"main": ["open"], "other": ["open"]}),
    "one gateway of two nodes": (
        [route(A, "alice", ca="both-cas"), route(B, ca="both-cas"), route(C, "bob", ca="both-cas")], {"main": ["open", "second"]},
    ),
    "no kept connections": ([route(A, "alice", sni=A, keepalive=0), route(B, sni=A, keepalive=0)], {"main": ["open"]}),
    "kept here, not there": (
        [route(A, "alice", sni=A), route(B, sni=A, keepalive=0), route(C, "bob", sni=A, keepalive=1)], {"main": ["open"]},
    ),
    "equal ones share, the other does not": (
        [route(A, "alice", sni=A), route(B, "alice", sni=A), route(C, "bob", sni=A)], {"main": ["open"]},
    ),
    "a filter chain for each host": ([route(A, "alice"), route(B), route(C, "bob"), route(D, "alice")], {"main": ["hosts"]}),
}  # fmt: skip


def ours(mesh: IdentityGateway, routes: Routes, gateways: dict[str, list[str]]) -> str:
    """What role nginx_offload writes for these routes."""
    ports = {"open": mesh.tls, "strict": mesh.strict, "second": mesh.second, "hosts": mesh.hosts}
    entries = [
        {"name": name, "addresses": [f"127.0.0.1:{ports[each]}" for each in listeners], "istio_gateway": "istio-system/edge"}
        for name, listeners in gateways.items()
    ]
    made = [{**each, "listen": {"tls": False, "port": 8123}} for each in routes]
    text = render(plan(*made, gateways=entries, upstreams={}))
    return text.replace("/pki/", f"{mesh.folder}/").replace("listen 8123;", "listen 127.0.0.1:{port};")


def own(route: dict[str, Any], listeners: list[str]) -> tuple[tuple[int, str, str], list[str]]:
    """What arrives of a route, (status, client, server name), and at which listeners: those that it can verify."""
    tls = route["upstream_tls"]
    client = Path(tls["client_certificate"]["cert_file"]).stem if tls["mode"] == "mutual" else ""
    trusted = Path(tls["server_ca"]["file"]).stem
    good = [each for each in listeners if not tls.get("verify", True) or trusted in ("other-ca" if each == "second" else "ca", "both-cas")]
    if not good or ("strict" in listeners and not client):
        return (502, "", ""), [""]
    return (200, client, tls["server_name"]), good


def walk(hosts: list[str]) -> list[str]:
    """Each host directly after each other one, and after itself, several times: what one leaves warm the next finds."""
    around = [host for pair in itertools.product(hosts, repeat=2) for host in pair]
    return [*around, *hosts]


def judge(mesh: IdentityGateway, nginx: Nginx, routes: Routes, gateways: dict[str, list[str]], order: list[str]) -> list[tuple[str, Seen]]:
    """Ask in this order over one connection; nothing but each route's own identity may have arrived, on connections of its own."""
    by_host = {each["host"]: each for each in routes}
    found = list(zip(order, ask(nginx.port, [(host, "/") for host in order])))
    log = (nginx.folder / "error.log").read_text()[-1500:]
    for host, seen in found:
        expected, listeners = own(by_host[host], gateways[by_host[host]["gateway"]])
        assert (seen.status, seen.client, seen.sni) == expected, (host, seen, expected, log)
        assert seen.listener in listeners
    return found


def connections_are_apart(routes: Routes, found: list[tuple[str, Seen]]) -> None:
    """A connection to the gateway served one identity only."""
    by_host = {each["host"]: each for each in routes}
    users: dict[str, set[str]] = {}
    for host, seen in found:
        if seen.connection:
            tls = by_host[host]["upstream_tls"]
            identity = {**tls, "gateway": by_host[host]["gateway"]}
            users.setdefault(seen.connection, set()).add(repr(sorted(identity.items(), key=lambda item: item[0])))
    assert all(len(identities) == 1 for identities in users.values()), users


def merged(text: str) -> str:
    """The same configuration with one upstream for all routes, as the naive ones have."""
    used = sorted({line.split("//")[1].rstrip(";") for line in text.splitlines() if "proxy_pass" in line})
    for name in used:
        text = text.replace(f"proxy_pass https://{name};", f"proxy_pass https://{used[0]};")
    return text


def judged(mesh: IdentityGateway, nginx: Nginx, routes: Routes, gateways: dict[str, list[str]]) -> list[tuple[str, Seen]]:
    """Both directions: A then B, B then A."""
    hosts = [each["host"] for each in routes]
    found = [pair for order in (walk(hosts), walk(hosts[::-1])) for pair in judge(mesh, nginx, routes, gateways, order)]
    connections_are_apart(routes, found)
    return found


@pytest.mark.parametrize("title", MIXTURES)
def test_our_configuration_keeps_identities_apart(mesh: IdentityGateway, tmp_path: Path, release: str, title: str) -> None:
    """By turns over warm connections on one worker; and the same routes with one upstream for all must be seen to fail."""
    routes, gateways = MIXTURES[title]
    text = ours(mesh, routes, gateways)
    with running(tmp_path, text, release) as nginx:
        found = judged(mesh, nginx, routes, gateways)
        diagnosis = diagnose_nginx(nginx.dump(), A)
    assert not {"IDENTITY_BORROWED", "UPSTREAM_IDENTITY_SHARED"} & {each.code for each in (diagnosis.cause, *diagnosis.findings) if each}
    connections = [seen.connection for host, seen in found if host == A]
    assert len(set(connections)) < len(connections) or not routes[0]["proxy"]["keepalive"], "the connections were not warm"
    if len(gateways) == 1 and (LONG or release == "bookworm"):
        with running(tmp_path, merged(text), release) as nginx, pytest.raises(AssertionError):
            judged(mesh, nginx, routes, gateways)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(60))
def test_any_mixture_of_routes(mesh: IdentityGateway, tmp_path: Path, release: str, seed: int) -> None:
    rng = random.Random(seed)
    listeners = {"main": rng.choice([["open"], ["strict"], ["second"], ["open", "second"]]), "other": rng.choice([["open"], ["second"]])}
    routes = []
    for host in HOSTS[: rng.randint(2, 6)]:
        changes: dict[str, Any] = {"sni": rng.choice([A, B, host]), "gateway": rng.choice(["main", "main", "other"])}
        changes.update(ca=rng.choice(["ca", "other-ca", "both-cas"]), keepalive=rng.choice([0, 1, 64]), depth=rng.choice([1, 3]))
        if rng.random() < 0.3:
            changes["verify"] = False
        routes.append(route(host, rng.choice(["", "", "alice", "bob", "carol"]), **changes))
    with running(tmp_path, ours(mesh, routes, listeners), release) as nginx:
        judged(mesh, nginx, routes, listeners)


# --- two hosts by turns ---------------------------------------------------------------------------------------------------

WORKERS, TURNS = 2, 400 if LONG else 120


def by_turns(port: int) -> list[Seen]:
    """Half of them over connections of clients that stay, half over new ones: every worker gets some."""
    stay = [seen for _round in range(TURNS // 40) for seen in ask(port, [(A, "/"), (B, "/")] * 10)]
    return stay + [seen for number in range(TURNS // 2) for seen in ask(port, [((A, B)[number % 2], "/")])]


def test_two_hosts_by_turns_cost_a_handshake_for_each_worker_and_upstream(mesh: IdentityGateway, tmp_path: Path, release: str) -> None:
    routes = [route(A, "alice"), route(B)]
    text = ours(mesh, routes, {"main": ["hosts"]})
    counts = {}
    for title, configuration in {"ours": text, "no keepalive": without_keepalive(text)}.items():
        with running(tmp_path, configuration, release, workers=WORKERS) as nginx:
            before = mesh.handshakes()
            seen = by_turns(nginx.port)
            counts[title] = mesh.handshakes() - before
        assert [each.status for each in seen] == [200] * TURNS, title
    print(f"handshakes of {TURNS} requests: {counts}")
    assert 2 <= counts["ours"] <= WORKERS * len(routes)
    assert counts["no keepalive"] >= TURNS * 0.95, "taken out by hand, every request has a handshake: the count above can fail"


def test_a_name_that_varies_over_kept_connections_is_what_gives_404(mesh: IdentityGateway, tmp_path: Path, release: str) -> None:
    """The recipe with ``proxy_ssl_name $host``: the control for the 404s that the test above doesn't see."""
    text = (
        f"upstream mesh {{ server 127.0.0.1:{mesh.hosts}; keepalive 4; }}\nserver {{ listen 127.0.0.1:{{port}}; server_name {A} {B};\n"
        "location / { proxy_pass https://mesh; proxy_http_version 1.1; proxy_set_header Connection ''; proxy_set_header Host $host;\n"
        "proxy_ssl_server_name on; proxy_ssl_name $host; } }\n"
    )
    with running(tmp_path, text, release) as nginx:
        assert 404 in {each.status for each in by_turns(nginx.port)}


def without_keepalive(text: str) -> str:
    """The configuration as if somebody had taken its kept connections out by hand."""
    lines = [line for line in text.splitlines() if not line.strip().startswith("keepalive")]
    assert len(lines) < len(text.splitlines())
    return "\n".join(lines)
