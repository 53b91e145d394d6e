# SPDX-License-Identifier: GPL-3.0-or-later
"""What role verify finds about identities: both leaks on a naive nginx, read and seen, and none on ours."""

from __future__ import annotations

import json
from pathlib import Path as Folder
from typing import Any

import pytest
from identity_rig import HOSTS, IdentityGateway, running
from probe_rig import Nginx
from probe_session import probe
from test_probe_identity import KEPT, SHOWS, TO_A
from test_probe_identity_ours import ours, route
from test_probe_playbook import ROOT, play

from plugins.module_utils._probe.entry import entry as entry_of
from plugins.module_utils._probe.spec import Expect, Http, Path, Tls
from plugins.module_utils._proof import entry
from plugins.module_utils._proof.carried import Seen
from plugins.module_utils._proof.model import probes
from plugins.module_utils._proof.vm_nginx.kind import KIND
from plugins.module_utils._routes.reading import Reading
from tests.unit.proof.world import PLANNED

A, B = HOSTS[:2]


def naive(mesh: IdentityGateway, port: int, common: str, kept: str, tls: bool = False) -> str:
    """Two hosts as people write them: one upstream, a client certificate for one of them."""
    front = " ssl; ssl_certificate {pki}/server.crt; ssl_certificate_key {pki}/server.key" if tls else ""
    servers = "\n".join(
        f"server {{ listen 127.0.0.1:{{port}}{front}; server_name {host}; location / {{ proxy_pass https://mesh; {common} {shows} }} }}"
        for host, shows in ((A, SHOWS % ("alice", "alice")), (B, ""))
    )
    return f"upstream mesh {{ server 127.0.0.1:{port}; {kept} }}\n{servers}\n".replace("{pki}", str(mesh.folder))


def declared(nginx: Nginx, at: int, material: str = "/pki", tls: bool = False) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Routes and gateways as a user writes them."""
    front = {"certificate": {"cert_file": "/pki/server.crt", "key_file": "/pki/server.key"}, "redirect_http": False}
    listen = {"port": nginx.port, **(front if tls else {"tls": False})}
    routes = [{**each, "listen": listen} for each in (route(A, "alice", sni=A, verify=False), route(B, sni=A, verify=False))]
    routes = json.loads(json.dumps(routes).replace("/pki", material))
    return routes, [{"name": "main", "addresses": [f"127.0.0.1:{at}"], "istio_gateway": "istio-system/edge"}]


def verify(nginx: Nginx, at: int, echo_path: str) -> dict[str, Any]:
    """The role's modules without its play, for both routes."""
    routes, gateways = declared(nginx, at)
    text = Reading.of_variables({"edge_routes": routes, "edge_gateways": gateways}).text()
    told = {**PLANNED, "address": "127.0.0.1", "gateways": {"main": [f"127.0.0.1:{at}"]}, "echo_path": echo_path}
    proofs = KIND.plan(KIND.routes(text), entry.given(KIND, told, "vm", check=False), {"nginx": nginx.dump()})
    results = [each for vantage in ("vm", "client") for each in probe(probes(proofs)[vantage])]
    seen = [Seen("vm", results, proofs=[proof.as_dict() for proof in proofs]).text()]
    options = {"run": "r1", "log": [], "absent": [], "answers": [], "minimum": {"positive": 5, "negative": 6}}
    return entry.reported({"routes": text, "seen": seen, **options}, check=False)


def neighbour(nginx: Nginx, name: str, host: str) -> dict[str, Any]:
    """A route of another list, as role nginx_offload finds it on the host."""
    http, expect = Http(path="/echo/x", host=host), Expect(status=tuple(range(200, 500)))
    path = Path(name, "127.0.0.1", nginx.port, tls=Tls(sni=host, rules="none"), http=http, expect=expect)
    return {"list": "team-b", "name": name, "probes": [entry_of(path)]}


def outcome(model: dict[str, Any]) -> dict[str, set[tuple[str, str]]]:
    """For each check about identities: (status, code) of all its proofs."""
    found: dict[str, set[tuple[str, str]]] = {}
    for line in model["proofs"]:
        if line["check"] in ("nginx.own_upstream", "path.own_identity", "path.lent_identity"):
            found.setdefault(line["check"], set()).add((line["status"], line["cause"].get("code", "")))
    return found


READ, SEEN, GOOD = ("failed", "UPSTREAM_IDENTITY_SHARED"), ("failed", "IDENTITY_BORROWED"), ("ok", "")
WAYS = {
    "session": (TO_A, "", "by TLS sessions"),
    "pool": (f"{TO_A} {KEPT.partition('proxy_set_header Host')[0].partition('1.1;')[2]} proxy_ssl_session_reuse off;",
             "keepalive 4;", "by pooled connections"),
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_both_leaks_are_read_and_seen_on_a_naive_nginx(mesh: IdentityGateway, tmp_path: Folder, release: str, way: str) -> None:
    common, kept, by = WAYS[way]
    with running(tmp_path, naive(mesh, mesh.tls, common, kept), release) as nginx:
        model = verify(nginx, mesh.tls, "/echo/x")
    found = outcome(model)
    assert found["nginx.own_upstream"] == {READ}
    # who asks first borrows or lends, as chance has it
    assert SEEN in found["path.own_identity"] | found["path.lent_identity"]
    assert found["path.own_identity"] | found["path.lent_identity"] <= {SEEN, GOOD}
    assert not model["ok"]
    assert all(by in failure["why"] for failure in model["failures"] if failure["code"] == READ[1])
    assert any("it arrives as" in failure["why"] for failure in model["failures"] if failure["code"] == SEEN[1])


def test_who_is_let_in_as_another_is_seen_without_an_app_that_tells(mesh: IdentityGateway, tmp_path: Folder, release: str) -> None:
    with running(tmp_path, naive(mesh, mesh.strict, TO_A, ""), release) as nginx:
        model = verify(nginx, mesh.strict, "")
    lines = {line["id"]: line for line in model["proofs"]}
    line = lines[f"b/path.own_identity/vm>{B}/ after {A}/"]
    assert (line["status"], line["cause"]["code"]) == SEEN
    assert "alone it is refused (CLIENT_CERT_MISSING)" in line["observed"]


def test_ours_is_read_and_seen_to_keep_them_apart(mesh: IdentityGateway, tmp_path: Folder, release: str) -> None:
    routes = [route(A, "alice", sni=A), route(B, sni=A)]
    for listener, echo_path in (("open", "/echo/x"), ("strict", "")):
        text = ours(mesh, routes, {"main": [listener]})
        at = mesh.tls if listener == "open" else mesh.strict
        with running(tmp_path, text, release) as nginx:
            found = outcome(verify(nginx, at, echo_path))
        assert found["nginx.own_upstream"] == {GOOD}
        for check in ("path.own_identity", "path.lent_identity"):
            # without an app that tells, only the one who is refused alone shows anything
            assert GOOD in found[check] <= ({GOOD} if echo_path else {GOOD, ("not_tested", "")}), (listener, found)


def test_the_playbook_fails_where_identities_are_lent(mesh: IdentityGateway, collections: Folder, tmp_path: Folder) -> None:
    with running(tmp_path, naive(mesh, mesh.tls, TO_A, "", tls=True), "bookworm") as nginx:
        routes, gateways = declared(nginx, mesh.tls, str(mesh.folder), tls=True)
        neighbours = [neighbour(nginx, "gone", "gone.example.com")]
        at = {"verify_address": "127.0.0.1", "verify_upstreams": {"main": [f"127.0.0.1:{mesh.tls}"]}, "verify_groups": ["edge_nginx"]}
        given = {
            "edge_routes": routes, "edge_gateways": gateways, "edge_vms": "all", "edge_become": "false", **at,
            "verify_nginx_command": nginx.command, "verify_echo_path": "/echo/x", "verify_read_access_log": "false",
            "verify_wait_timeout": "0", "nginx_offload_result": {"changed": True, "neighbours": neighbours},
            "verify_report_dir": str(tmp_path / "proof"),
        }  # fmt: skip
        done = play(collections, ROOT / "playbooks" / "verify.yml", given)
    assert done.returncode == 2, done.stdout[-3000:] + done.stderr[-2000:]
    assert "Not proven: a, b, route gone of list team-b" in done.stdout + done.stderr
    model = json.loads((tmp_path / "proof" / "proof.json").read_text())
    # this nginx refuses no unknown name, so a route that is gone is answered as well: by somebody else's server
    outcomes = {line["check"]: (line["status"], line["cause"].get("code")) for line in model["proofs"] if line["neighbour"]}
    assert outcomes == {"neighbour.answers": ("ok", None), "neighbour.stranger": ("failed", "SERVED_TO_ANYBODY")}
    found = outcome(model)
    assert found["nginx.own_upstream"] == {READ}
    assert SEEN in found["path.own_identity"] | found["path.lent_identity"]
