# SPDX-License-Identifier: GPL-3.0-or-later
"""Several lists in one namespace of a real API server: what each may change, and who waits for whom."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from kube_rig import DEFAULTS, Outcome, config_map, connect, objects

from plugins.module_utils._errors import EdgeError
from plugins.module_utils._kube import lease
from plugins.module_utils._kube.client import Client
from plugins.module_utils._kube.k8s_objects import Objects
from plugins.module_utils._kube.labels import LIST_LABEL, MANAGED_BY, ROUTE_LABEL
from plugins.module_utils._lists import OTHER_LIST

pytestmark = pytest.mark.cluster
COMPONENT = {"app.kubernetes.io/component": "test"}


def of_route(route: str, namespace: str, name: str = "", data: Any = None) -> dict[str, Any]:
    return config_map(name or f"edge-{route}", namespace, data, labels={**MANAGED_BY, **COMPONENT, ROUTE_LABEL: route})


def prune(namespace: str, *routes: str, exclusive: bool = False) -> dict[str, Any]:
    kinds = [{"kind": "ConfigMap", "namespace": namespace}]
    return {"labels": COMPONENT, "kinds": kinds, "routes": list(routes), "exclusive": exclusive}


def versions(client: Client, namespace: str) -> dict[str, str]:
    found = client.list("ConfigMap", namespace, labels="app.kubernetes.io/component=test")[0]
    return {each["metadata"]["name"]: each["metadata"]["resourceVersion"] for each in found}


def went(outcome: Outcome) -> list[tuple[str, str, str, str]]:
    assert outcome.error is None
    return [(each["name"], each["action"], each["list"], each["route"]) for each in outcome.results if each.get("pruned")]


# -- objects ---------------------------------------------------------------------------------------------------------------


def test_a_run_leaves_other_lists_and_its_own_other_routes_alone(new_client: Any, client: Client, namespace: str) -> None:
    for name, routes in (("a", ("shop", "pay")), ("b", ("store",)), ("default", ("old",))):
        assert objects(new_client(), [of_route(each, namespace) for each in routes], list=name).error is None
    before = versions(client, namespace)
    outcome = objects(new_client(), [of_route("shop", namespace)], list="a", prune=prune(namespace, "shop"))
    assert (outcome.actions, versions(client, namespace)) == (["unchanged"], before)
    (live,) = client.list("ConfigMap", namespace, labels=f"{LIST_LABEL}=b")[0]
    assert {each["manager"] for each in live["metadata"]["managedFields"]} == {"edgemesh-b"}


def test_what_goes_is_named_and_is_the_same_in_check_mode(new_client: Any, client: Client, namespace: str) -> None:
    given = [of_route("shop", namespace), of_route("shop", namespace, "moved"), of_route("pay", namespace), of_route("news", namespace)]
    objects(new_client(), given, list="a")
    objects(new_client(), [of_route("store", namespace)], list="b")
    for check, action in ((True, "would_delete"), (False, "deleted")):
        taken = objects(new_client(), given[:1], list="a", prune=prune(namespace, "shop", "pay"), check=check)
        assert went(taken) == [("edge-pay", action, "a", "pay"), ("moved", action, "a", "shop")]
    for check, action in ((True, "would_delete"), (False, "deleted")):
        taken = objects(new_client(), given[:1], list="a", prune=prune(namespace, exclusive=True), check=check)
        assert went(taken) == [("edge-news", action, "a", "news")]
    taken = objects(new_client(), [], list="a", state="absent", prune=prune(namespace, exclusive=True))
    assert went(taken) == [("edge-shop", "deleted", "a", "shop")]
    assert set(versions(client, namespace)) == {"edge-store"}
    with pytest.raises(EdgeError, match="routes and exclusive need a list"):
        objects(new_client(), [], prune=prune(namespace, "shop"))


@pytest.mark.parametrize("options", [{}, {"force_conflicts": True}, {"check": True}, {"state": "absent"}])
def test_what_another_list_has_is_refused_before_anything_changes(
    new_client: Any, client: Client, namespace: str, options: dict[str, Any]
) -> None:
    objects(new_client(), [of_route("shop", namespace)], list="a")
    before = versions(client, namespace)
    outcome = objects(new_client(), [of_route("fresh", namespace), of_route("shop", namespace, data={"a": "c"})], list="b", **options)
    assert outcome.error
    assert outcome.error.code == OTHER_LIST
    assert outcome.error.sentence.startswith(f"list b: ConfigMap {namespace}/edge-shop belongs to route shop of list a: ")
    assert versions(client, namespace) == before


@pytest.mark.parametrize("force", [False, True])
def test_the_api_server_refuses_what_another_list_has_made_since(new_client: Any, client: Client, namespace: str, force: bool) -> None:
    """The other run comes between our look and our change."""

    class Late(Client):
        def apply(self, *arguments: Any, **options: Any) -> dict[str, Any]:
            if not first.is_set():
                first.set()
                assert objects(new_client(), [of_route("shop", namespace)], list="a").error is None
            return super().apply(*arguments, **options)

    first = threading.Event()
    late = new_client()
    late.__class__ = Late
    outcome = objects(late, [of_route("shop", namespace, data={"a": "c"})], list="b", force_conflicts=force)
    assert outcome.error
    assert (outcome.error.code, outcome.actions) == (OTHER_LIST, ["failed"])
    assert "belongs to route shop of list a" in outcome.error.sentence
    assert client.get("ConfigMap", "edge-shop", namespace)["data"] == {"a": "b"}  # type: ignore[index]


def test_fields_of_somebody_who_is_no_list_are_taken_over_by_force(new_client: Any, client: Client, namespace: str) -> None:
    objects(new_client(), [of_route("shop", namespace)], list="a")
    objects(new_client(), [config_map("edge-shop", namespace, {"a": "kubectl"})], field_manager="kubectl", force_conflicts=True)
    wanted = [of_route("shop", namespace)]
    refused = objects(new_client(), wanted, list="a")
    assert refused.error
    assert refused.error.code == "CONFLICT"
    for check, action in ((True, "would_change"), (False, "changed")):
        outcome = objects(new_client(), wanted, list="a", force_conflicts=True, check=check)
        assert (outcome.error, outcome.actions) == (None, [action])
    assert objects(new_client(), wanted, list="a").actions == ["unchanged"]


def test_an_object_from_before_there_were_lists_is_taken_over_by_the_default_list(new_client: Any, client: Client, namespace: str) -> None:
    objects(new_client(), [of_route("shop", namespace), of_route("gone", namespace)])
    uid = client.get("ConfigMap", "edge-shop", namespace)["metadata"]["uid"]  # type: ignore[index]
    before = versions(client, namespace)
    other = objects(new_client(), [of_route("shop", namespace)], list="b")
    assert other.error
    assert "belongs to route shop of list default" in other.error.sentence
    assert went(objects(new_client(), [], list="b", state="absent", prune=prune(namespace, exclusive=True))) == []
    assert versions(client, namespace) == before
    assert objects(new_client(), [of_route("shop", namespace)], list="default", prune=prune(namespace, "shop")).actions == ["changed"]
    live = client.get("ConfigMap", "edge-shop", namespace)
    assert live
    assert (live["metadata"]["uid"], live["metadata"]["labels"][LIST_LABEL]) == (uid, "default")
    assert objects(new_client(), [of_route("shop", namespace)], list="default", prune=prune(namespace, "shop")).actions == ["unchanged"]


def test_of_two_runs_at_once_with_one_name_exactly_one_wins(kubeconfig: Path, client: Client, namespace: str) -> None:
    def run(name: str) -> Outcome:
        return objects(connect({"kubeconfig": str(kubeconfig)}), [of_route("shop", namespace, data={"by": name})], list=name)

    for _round in range(5):
        with ThreadPoolExecutor(2) as pool:
            outcomes = dict(zip("ab", pool.map(run, "ab")))
        (winner,) = [name for name, outcome in outcomes.items() if outcome.error is None]
        (refused,) = [outcome.error for outcome in outcomes.values() if outcome.error]
        assert (refused.code, f"route shop of list {winner}" in refused.sentence) == (OTHER_LIST, True)
        assert client.get("ConfigMap", "edge-shop", namespace)["data"] == {"by": winner}  # type: ignore[index]
        client.delete("ConfigMap", "edge-shop", namespace)


# -- the Lease -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def working(new_client: Any, namespace: str) -> Iterator[threading.Event]:
    """Another run, list a's, which holds the Lease until the event."""
    end, there = threading.Event(), threading.Event()

    def work() -> None:
        with lease.held(new_client(), [namespace], "list a (host x)", seconds=3):
            there.set()
            end.wait(30)

    other = threading.Thread(target=work)
    other.start()
    assert there.wait(20)
    yield end
    end.set()
    other.join()


def found(client: Client, namespace: str) -> dict[str, Any]:
    return (client.get("Lease", lease.NAME, namespace) or {}).get("spec", {})


def test_a_lease_is_there_only_while_it_is_held_also_after_an_error(new_client: Any, client: Client, namespace: str) -> None:
    def fail() -> None:
        with lease.held(new_client(), [namespace], lease.holder("a")):
            assert found(client, namespace)["holderIdentity"].startswith("list a (host ")
            raise EdgeError("no")

    for _twice in range(2):
        with pytest.raises(EdgeError, match="no"):
            fail()
        assert found(client, namespace) == {}


def test_who_waits_says_for_whom(working: threading.Event, new_client: Any, namespace: str) -> None:
    threading.Timer(1, working.set).start()
    started, waiting = time.monotonic(), new_client()
    with lease.held(waiting, [namespace], lease.holder("b")):
        assert 0.5 < time.monotonic() - started < 15
    assert waiting.warnings == [f"waited for list a (host x), which was changing namespace {namespace} too"]


@pytest.mark.usefixtures("working")
def test_who_waits_in_vain_says_for_whom_and_since_when(new_client: Any, client: Client, namespace: str) -> None:
    """Longer than the Lease lasts: the other run renews it."""
    since = found(client, namespace)["acquireTime"]
    with pytest.raises(EdgeError) as late, lease.held(new_client(6), [namespace], lease.holder("b")):
        pass
    assert late.value.code == "OTHER_RUN"
    assert late.value.sentence.startswith(
        f"Lease {namespace}/edgemesh: another run is changing the same namespace: list a (host x) holds it since {since}"
    )


def test_the_lease_of_a_killed_run_expires(new_client: Any, client: Client, namespace: str) -> None:
    killed = lease._Lease(new_client(), namespace, "list a (killed)", 3)
    killed._acquire()
    started = time.monotonic()
    with lease.held(new_client(), [namespace], lease.holder("b")):
        assert 2.9 < time.monotonic() - started < 15
        assert found(client, namespace)["holderIdentity"].startswith("list b")
        # It wakes up: the Lease is not its own any more.
        killed.__exit__()
        assert found(client, namespace)["holderIdentity"].startswith("list b")
    assert found(client, namespace) == {}


def test_several_namespaces_are_held_in_one_order(new_client: Any, client: Client, namespace: str) -> None:
    with lease.held(new_client(), ["kube-public", namespace, namespace], lease.holder("a")):
        assert found(client, namespace)
        assert found(client, "kube-public")
    assert found(client, "kube-public") == {}


def test_without_the_right_to_leases_the_run_goes_on_and_warns(kubeconfig: Path, client: Client, namespace: str) -> None:
    metadata = {"name": "no-leases", "namespace": namespace}
    rbac = {"apiVersion": "rbac.authorization.k8s.io/v1", "metadata": metadata}
    maps = {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list", "create", "patch"]}
    client.apply({**rbac, "kind": "Role", "rules": [maps]})
    subject = {"kind": "User", "name": "bob", "apiGroup": "rbac.authorization.k8s.io"}
    reference = {"kind": "Role", "name": "no-leases", "apiGroup": "rbac.authorization.k8s.io"}
    client.apply({**rbac, "kind": "RoleBinding", "roleRef": reference, "subjects": [subject]})
    bob = connect({"kubeconfig": str(kubeconfig), "impersonate_user": "bob"})
    work = Objects({**DEFAULTS, "definitions": [of_route("shop", namespace)], "list": "a"}, check=False, diff=False)
    with lease.held(bob, [namespace], lease.holder("a")):
        work.change(bob)
    said = f"Two runs at the same time are not kept apart in namespace {namespace}: bob may not create leases in namespace {namespace}"
    assert bob.warnings == [said]
    assert work.result()["results"][0]["action"] == "created"


def test_a_namespace_that_is_not_there_needs_no_lease(new_client: Any) -> None:
    client = new_client()
    with lease.held(client, ["edgemesh-test-not-there"], lease.holder("a")):
        pass
    assert client.warnings == []
