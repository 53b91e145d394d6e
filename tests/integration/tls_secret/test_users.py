# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets of several lists and runs on a real API server: nobody loses a name, nothing goes that is needed, the CA stays while in use."""

from __future__ import annotations

import json
import multiprocessing
from pathlib import Path
from typing import Any

import pytest

from plugins.module_utils._kube.client import Client
from plugins.module_utils._kube.connection import connect
from plugins.module_utils._lists import Run
from plugins.module_utils._secrets import unneeded
from plugins.module_utils._secrets.entries import Entry, entries
from plugins.module_utils._secrets.tls_secret import Delivery
from plugins.module_utils._secrets.users import NEEDED_BY
from plugins.module_utils._x509 import facts
from plugins.module_utils._x509.material import from_secret
from tests.integration.tls_secret import conftest
from tests.integration.tls_secret.conftest import Player
from tests.integration.tls_secret.test_private_ca import NEEDS, ROLE, versions
from tests.integration.tls_secret.test_tls_secret_killed import arm
from tests.unit.x509.test_x509_files import killed_at

pytestmark = pytest.mark.cluster
REMOVAL = "edgemesh.nginx_istio.private_ca : Remove the Secrets that nobody needs"


def route(namespace: str, name: str, client: str = "edge-client") -> dict[str, Any]:
    tls = {"mode": "mutual", "client_certificate": client, "client_names": [f"{name}.client.example"]}
    paths = [{"service": {"namespace": namespace, "name": "web", "port": 80}}]
    return {"name": name, "host": f"{name}.example.com", "listen": {"tls": False}, "upstream_tls": tls, "paths": paths}


def play_role(play: Player, namespace: str, routes: list[dict[str, Any]], *options: str, **values: Any) -> conftest.Run:
    """As playbook vm_offload does: issue first, remove last; with private_ca_state absent the removal is the role itself."""
    given = {"edge_namespace": namespace, "edge_gateways": {"main": {"namespace": namespace}}, "edge_routes": routes, **values}
    parts = ["main"] if "private_ca_state" in values else ["main", "prune"]
    read = {"name": "read", "edgemesh.nginx_istio.read_routes": {}}
    roles = [
        {"name": part, "ansible.builtin.include_role": {"name": ROLE, "tasks_from": part}, "vars": {"private_ca_needs": NEEDS}}
        for part in parts
    ]
    return play([read, *roles], *options, "--extra-vars", json.dumps(given))


def names(client: Client, namespace: str, name: str) -> list[str]:
    secret = client.get("Secret", name, namespace)
    assert secret
    return sorted(facts.dns_names(from_secret(secret).leaf))


def users(client: Client, namespace: str, name: str) -> set[str]:
    secret = client.get("Secret", name, namespace)
    return set(json.loads(secret["metadata"]["annotations"][NEEDED_BY])) if secret else set()


def test_two_lists_come_and_go(client: Client, namespace: str, play: Player) -> None:
    def go(*routes: dict[str, Any], **values: Any) -> conftest.Run:
        done = play_role(play, namespace, list(routes), **values)
        assert done.code == 0, done.printed
        return done

    shop, pay, store = route(namespace, "shop"), route(namespace, "pay"), route(namespace, "store", "store-client")
    go(shop, pay)
    go(store, edge_list="team-b")
    kept = versions(client, namespace)
    assert set(kept) == {"edge-ca", "edge-client", "store-client"} | {
        f"edge-{name}{end}" for name in ("shop", "pay", "store") for end in ("", "-cacert")
    }
    for again in (go(shop), go(pay), go(store, edge_list="team-b")):
        assert not any(again.changed().values()), again.printed
    assert versions(client, namespace) == kept, "a run that lists fewer routes changes nothing for the others"
    assert names(client, namespace, "edge-client") == ["pay.client.example", "shop.client.example"]

    refused = play_role(play, namespace, [route(namespace, "thief")], edge_list="team-b")
    assert refused.code != 0
    assert "the Secret belongs to route pay of list default" in refused.printed
    assert versions(client, namespace) == kept

    gone = [{"name": "pay", "state": "absent"}]
    predicted = play_role(play, namespace, gone, "--check")
    listed = [f"Secret {namespace}/edge-pay", f"Secret {namespace}/edge-pay-cacert"]
    assert sorted(predicted.one(REMOVAL)["removed"]) == listed
    assert versions(client, namespace) == kept
    done = go(*gone)
    assert sorted(done.one(REMOVAL)["removed"]) == listed
    assert users(client, namespace, "edge-client") == {"default/shop"}
    assert not any(go(*gone).changed().values())

    kept = versions(client, namespace)
    in_use = play_role(play, namespace, [], private_ca_state="absent", private_ca_remove=True)
    assert in_use.code != 0
    assert f"Secret {namespace}/store-client (route store of list team-b)" in in_use.printed
    assert versions(client, namespace) == kept
    go(private_ca_state="absent")
    assert set(versions(client, namespace)) == {"edge-ca", "store-client", "edge-store", "edge-store-cacert"}
    go(private_ca_state="absent", private_ca_remove=True, edge_list="team-b")
    assert versions(client, namespace) == {}


def test_the_namespace_goes_with_the_ca_if_it_was_made_here(client: Client, namespace: str, play: Player) -> None:
    place = f"{namespace}-made"
    values = {"edge_namespace": place, "edge_gateways": {"main": {"namespace": place}}}
    try:
        assert play_role(play, place, [route(place, "shop")], **values).code == 0
        client.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": place, "name": "theirs"}})
        end = {**values, "private_ca_state": "absent", "private_ca_remove": True}
        assert play_role(play, place, [], **end).code == 0
        assert client.get("Namespace", place), "somebody has something in it"
        client.delete("ConfigMap", "theirs", place)
        assert play_role(play, place, [], **end).code == 0
        assert client.get("Namespace", place) is None
    finally:
        client.delete("Namespace", place)


def test_secrets_of_the_version_before_are_taken_over(client: Client, namespace: str, play: Player) -> None:
    assert play_role(play, namespace, [route(namespace, "shop"), route(namespace, "pay")]).code == 0
    before = client.list("Secret", namespace)[0]
    for secret in before:
        metadata = secret["metadata"]
        (metadata.get("annotations") or {}).pop(NEEDED_BY, None)
        metadata["labels"].pop("edgemesh.nginx-istio/list", None)
        client.replace(secret)
    assert play_role(play, namespace, [route(namespace, "store")], edge_list="team-b").code != 0
    assert play_role(play, namespace, [route(namespace, "shop")]).code == 0
    after = {each["metadata"]["name"]: each for each in client.list("Secret", namespace)[0]}
    assert {name: each["data"] for name, each in after.items()} == {each["metadata"]["name"]: each["data"] for each in before}
    assert users(client, namespace, "edge-client") == {"default/*", "default/shop"}
    assert play_role(play, namespace, [], private_ca_state="absent").code == 0
    assert set(versions(client, namespace)) == {"edge-ca"}


# -- at once, and killed --------------------------------------------------------------------------------------------------


def wanted(namespace: str, *routes: str) -> list[dict[str, Any]]:
    ca, made = {"namespace": namespace, "name": "edge-ca"}, {"app.kubernetes.io/component": "private-ca"}
    issue = {"usage": "client", "ca": ca}
    shared = {"namespace": namespace, "name": "edge-client", "labels": made, "issue": issue}
    own = [
        {**shared, "name": f"edge-{each}", "issue": {**issue, "usage": "server"}, "users": {each: [f"{each}.example"]}} for each in routes
    ]
    return [
        {**ca, "issue": {"usage": "ca"}, "labels": made},
        *([{**shared, "users": {each: [f"{each}.example"] for each in routes}}] if routes else []),
        *own,
    ]


def change(kubeconfig: Path, namespace: str, present: tuple[str, ...], absent: tuple[str, ...] = ()) -> None:
    """A whole run of list default."""
    client = connect({"kubeconfig": str(kubeconfig), "timeout": 60})
    said, listed = Run(present=frozenset(present), absent=frozenset(absent)), entries(wanted(namespace, *present))
    Delivery(client, listed, run=said).present()
    found = unneeded.find(client, [namespace], said, {each.ref for each in listed}, [])
    Delivery(client, [Entry(each, "tls") for each in found], run=said).unneeded()


def test_runs_at_once_lose_no_user(client: Client, namespace: str, kubeconfig: Path) -> None:
    """Half of them add a route, the others take one away."""
    old, new = [f"old{number}" for number in range(3)], [f"new{number}" for number in range(3)]
    change(kubeconfig, namespace, tuple(old))
    fork = multiprocessing.get_context("fork")
    jobs = [fork.Process(target=change, args=(kubeconfig, namespace, (each,))) for each in new]
    jobs += [fork.Process(target=change, args=(kubeconfig, namespace, (), (each,))) for each in old]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join(60)
    assert [job.exitcode for job in jobs] == [0] * 6
    assert users(client, namespace, "edge-client") == {f"default/{each}" for each in new}
    assert set(names(client, namespace, "edge-client")) >= {f"{each}.example" for each in new}
    assert set(versions(client, namespace)) == {"edge-ca", "edge-client", *(f"edge-{each}" for each in new)}


def test_killed_at_every_step(client: Client, namespace: str, kubeconfig: Path) -> None:
    """One route comes and another goes. Whoever stays has its names at any moment, and the next run ends the work."""
    count, step = 0, 0
    while True:
        step += 1
        change(kubeconfig, namespace, ("stays", "goes"), ("comes",))
        killed = killed_at(step, lambda: change(kubeconfig, namespace, ("comes",), ("goes",)), arm)
        assert "default/stays" in users(client, namespace, "edge-client")
        assert "stays.example" in names(client, namespace, "edge-client")
        change(kubeconfig, namespace, ("comes",), ("goes",))
        assert users(client, namespace, "edge-client") == {"default/stays", "default/comes"}
        assert set(versions(client, namespace)) == {"edge-ca", "edge-client", "edge-stays", "edge-comes"}
        if not killed:
            break
        count += 1
    assert count >= 3
