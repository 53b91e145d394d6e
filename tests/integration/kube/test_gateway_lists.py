# SPDX-License-Identifier: GPL-3.0-or-later
"""Several lists of routes at one gateway, as module gateway_routes_change changes them, at the same time too."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from kube_rig import connect, temporary_namespace

from plugins.module_utils._errors import EdgeError
from plugins.module_utils._kube.client import Client
from plugins.module_utils._lists import OTHER_LIST
from plugins.module_utils._mesh.gateway_routes import ISTIO
from plugins.module_utils._mesh.gateway_routes_change import Change
from plugins.module_utils._routes.reading import Reading

pytestmark = [pytest.mark.cluster, pytest.mark.mesh]
CHECKOUT = Path(__file__).parents[3]
# A process of its own: its options come by stdin, whose end lets it begin; the result, or the error, goes to stdout.
PROCESS = """
import json, sys
from plugins.module_utils._errors import EdgeError
from plugins.module_utils._kube.connection import connect
from plugins.module_utils._mesh.gateway_routes_change import Change
options = json.loads(sys.stdin.readline())
print("ready", flush=True)
sys.stdin.read()
change, client, error = Change(options, check=False, diff=False), connect(options), {}
try:
    change.change(client)
except EdgeError as caught:
    error = caught.as_result()
print(json.dumps({"error": error, "warnings": client.warnings, **change.result()}))
"""


def options(namespace: str, list_name: str, *routes: tuple[str, str], **more: Any) -> dict[str, Any]:
    """What the role gives the module for routes by name and host."""
    service = {"service": {"namespace": "a", "name": "b", "port": 1}}
    at = {"gateway": more.pop("at", "main"), "listen": {"tls": False}, "paths": [service]}
    entries = [{"name": name, "host": host, **at} for name, host in routes]
    absent = [{"name": name, "state": "absent"} for name in more.pop("absent", ())]
    gateways = {"main": {"namespace": namespace, "service": "gw"}, **more.pop("gateways", {})}
    listed = {"edge_list": list_name, "edge_routes": [*entries, *absent], "edge_gateways": gateways}
    read = Reading.of_variables({**listed, "edge_exclusive": more.pop("exclusive", False)})
    defaults = {"state": "present", "all_lists": False, "judge_only": False, "force_conflicts": False, "timeout": 60}
    return {"read": read.text(), "definitions": [each for route in read.routes for each in objects(route.as_dict())], **defaults, **more}


def objects(route: dict[str, Any]) -> list[dict[str, Any]]:
    """As the role's template makes them."""
    namespace, name = route["gateway"]["namespace"], f"edge-{route['name']}"
    labels = {**route["labels"], "app.kubernetes.io/component": "gateway-routes"}
    metadata = {"name": name, "namespace": namespace, "labels": labels}
    server = {"port": {"number": 443, "name": "https", "protocol": "TLS"}, "hosts": route["hosts"], "tls": {"mode": "PASSTHROUGH"}}
    match = [{"port": 443, "sniHosts": route["hosts"]}]
    to = [{"destination": {"host": "b.a.svc.cluster.local", "port": {"number": 1}}}]
    service = {"hosts": route["hosts"], "gateways": [f"{namespace}/{name}"], "tls": [{"match": match, "route": to}]}
    return [
        {"apiVersion": ISTIO, "kind": "Gateway", "metadata": metadata, "spec": {"selector": {"istio": namespace}, "servers": [server]}},
        {"apiVersion": ISTIO, "kind": "VirtualService", "metadata": metadata, "spec": service},
    ]


def run(client: Client, given: dict[str, Any], *, check: bool = False) -> dict[str, Any]:
    change = Change(given, check=check, diff=False)
    change.change(client)
    return change.result()


def processes(kubeconfig: Path, *given: dict[str, Any]) -> list[dict[str, Any]]:
    """What runs that begin at the same time come to, each in a process of its own."""
    started = [begin(kubeconfig, each) for each in given]
    for process in started:
        go(process)
    return [json.loads(process.communicate(timeout=100)[0]) for process in started]


def begin(kubeconfig: Path, given: dict[str, Any]) -> subprocess.Popen[str]:
    """A process that is ready to go."""
    words = [sys.executable, "-c", PROCESS]
    process = subprocess.Popen(words, cwd=CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin
    assert process.stdout
    process.stdin.write(json.dumps({"kubeconfig": str(kubeconfig), **given}) + "\n")
    process.stdin.flush()
    assert process.stdout.readline() == "ready\n"
    return process


def go(process: subprocess.Popen[str]) -> None:
    assert process.stdin
    process.stdin.close()
    process.stdin = None


def versions(client: Client, namespace: str) -> dict[str, str]:
    found = [each for kind in ("Gateway", "VirtualService") for each in client.list(kind, namespace, api_version=ISTIO)[0]]
    return {f"{each['kind']}/{each['metadata']['name']}": each["metadata"]["resourceVersion"] for each in found}


def both(*names: str) -> set[str]:
    return {f"{kind}/edge-{name}" for kind in ("Gateway", "VirtualService") for name in names}


def test_lists_beside_each_other(new_client: Any, client: Client, namespace: str) -> None:
    a = options(namespace, "a", ("shop", "shop.example.com"), ("pay", "pay.example.com"))
    assert run(new_client(), a)["changed"]
    before = versions(client, namespace)
    for name in ("one", "two", "three"):  # a survey, which names one route each time
        survey = options(namespace, "survey", (name, f"{name}.example.com"))
        assert run(new_client(), survey)["gone"] == []
        assert not run(new_client(), survey)["changed"]
    after = versions(client, namespace)
    assert after.keys() == both("shop", "pay", "one", "two", "three")
    assert {name: after[name] for name in before} == before

    gone = [f"route one of list survey in namespace {namespace}"]
    for check in (True, False):
        assert run(new_client(), options(namespace, "survey", absent=["one"]), check=check)["gone"] == gone
    gone = [f"route two of list survey in namespace {namespace}"]
    for check in (True, False):
        assert run(new_client(), options(namespace, "survey", ("three", "3.example.com"), exclusive=True), check=check)["gone"] == gone
    after = versions(client, namespace)
    assert after.keys() == both("shop", "pay", "three")
    assert {name: after[name] for name in before} == before

    assert run(new_client(), options(namespace, "survey", state="absent"))["gone"] == [
        f"route three of list survey in namespace {namespace}"
    ]
    assert versions(client, namespace) == before
    run(new_client(), options(namespace, "survey", ("four", "four.example.com")))
    assert len(run(new_client(), options(namespace, "other", state="absent", all_lists=True))["gone"]) == 3
    assert versions(client, namespace) == {}
    assert client.list("Lease", namespace)[0] == []


@pytest.mark.parametrize(
    ("name", "host", "said"), [("shop", "new.example.com", "route name shop"), ("new", "shop.example.com", "host shop")]
)
@pytest.mark.parametrize("more", [{}, {"judge_only": True}, {"force_conflicts": True}])
def test_what_another_list_has_is_refused(
    new_client: Any, client: Client, namespace: str, name: str, host: str, said: str, more: dict[str, Any]
) -> None:
    run(new_client(), options(namespace, "a", ("shop", "shop.example.com")))
    before = versions(client, namespace)
    for check in (True, False):
        with pytest.raises(
            EdgeError, match=rf"edge_routes \({name}\): {said}.* at gateway main .* belongs to route shop of list a"
        ) as refused:
            run(new_client(), options(namespace, "b", ("fresh", "fresh.example.com"), (name, host), **more), check=check)
        assert refused.value.code == OTHER_LIST
    assert versions(client, namespace) == before


def test_a_route_that_moves_leaves_nothing_at_its_previous_gateway(new_client: Any, client: Client, namespace: str) -> None:
    with temporary_namespace(client) as second:
        gateways = {"second": {"namespace": second, "service": "gw"}}
        run(new_client(), options(namespace, "b", ("store", "store.example.com")))
        run(new_client(), options(namespace, "a", ("shop", "shop.example.com")))
        moved = run(new_client(), options(namespace, "a", ("shop", "shop.example.com"), gateways=gateways, at="second"))
        assert moved["gone"] == []  # the route is still there
        assert (versions(client, namespace).keys(), versions(client, second).keys()) == (both("store"), both("shop"))
        run(new_client(), options(namespace, "a", gateways=gateways, state="absent"))
        assert versions(client, second) == {}


@pytest.mark.parametrize(
    "routes", [[("shop", "a.example.com"), ("shop", "b.example.com")], [("one", "shop.example.com"), ("two", "shop.example.com")]],
    ids=["one name", "one host"],
)  # fmt: skip
def test_of_two_runs_at_once_exactly_one_has_it_and_the_other_names_it(
    kubeconfig: Path, client: Client, namespace: str, routes: list[tuple[str, str]]
) -> None:
    for _round in range(3):
        own = {name: [(f"{name}{number}", f"{name}{number}.example.com") for number in range(20)] for name in "ab"}
        results = processes(kubeconfig, *(options(namespace, name, *own[name], route) for name, route in zip("ab", routes)))
        (winner,) = [index for index, result in enumerate(results) if not result["error"]]
        error = results[1 - winner]["error"]
        assert error["code"] == OTHER_LIST
        assert f"belongs to route {routes[winner][0]} of list {'ab'[winner]}" in error["what"]
        assert versions(client, namespace).keys() == both(routes[winner][0], *(name for name, _host in own["ab"[winner]]))
        run(connect({"kubeconfig": str(kubeconfig)}), options(namespace, "ab"[winner], state="absent"))


def test_runs_at_once_that_share_nothing_all_end_well(kubeconfig: Path, client: Client, namespace: str) -> None:
    results = processes(kubeconfig, *(options(namespace, f"l{number}", (f"r{number}", f"r{number}.example.com")) for number in range(4)))
    assert [result["error"] for result in results] == [{}] * 4
    assert versions(client, namespace).keys() == both(*(f"r{number}" for number in range(4)))
    assert client.list("Lease", namespace)[0] == []
    assert all(warning.startswith("waited for list l") for result in results for warning in result["warnings"])


def test_after_a_run_was_killed_the_next_waits_for_its_lease_to_expire(kubeconfig: Path, client: Client, namespace: str) -> None:
    many = [(f"r{number}", f"r{number}.example.com") for number in range(200)]
    process = begin(kubeconfig, options(namespace, "a", *many))
    go(process)
    while not client.list("Gateway", namespace, api_version=ISTIO)[0]:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    started = time.monotonic()
    (result,) = processes(kubeconfig, options(namespace, "b", ("store", "store.example.com")))
    assert (result["error"], 25 < time.monotonic() - started < 60) == ({}, True)
    assert result["warnings"][0].startswith("waited for list a (host ")
    assert both("store") <= versions(client, namespace).keys()


def test_the_documented_rights_are_enough(kubeconfig: Path, client: Client, namespace: str) -> None:
    for each in yaml.safe_load((CHECKOUT / "docs/rbac/gateway_routes.yaml").read_text())["items"]:
        each["metadata"]["namespace"] = namespace
        if "subjects" in each:
            each["subjects"] = [{"kind": "User", "name": "alice", "apiGroup": "rbac.authorization.k8s.io"}]
        client.apply(each)
    for more, changed in (({}, True), ({}, False), ({"state": "absent"}, True)):
        alice = connect({"kubeconfig": str(kubeconfig), "impersonate_user": "alice"})
        assert run(alice, options(namespace, "a", ("shop", "shop.example.com"), **more))["changed"] == changed
        assert alice.warnings == []
