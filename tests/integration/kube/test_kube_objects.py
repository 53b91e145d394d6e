# SPDX-License-Identifier: GPL-3.0-or-later
"""k8s_objects against a real API server."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from kube_rig import config_map, deployment, objects, secret, temporary_namespace

from plugins.module_utils._errors import EdgeError
from plugins.module_utils._kube.client import Client

pytestmark = pytest.mark.cluster
CANARY = "canary-a71e"


def versions(client: Client, namespace: str) -> dict[str, str]:
    """resourceVersion of everything that these tests made in a namespace; others put things into every namespace."""
    found = {}
    for kind in ("ConfigMap", "Secret", "Deployment", "Service"):
        for each in client.list(kind, namespace, metadata_only=True)[0]:
            metadata = each["metadata"]
            if any(entry["manager"] in ("edgemesh", "helm") for entry in metadata.get("managedFields", [])):
                found[f"{kind}/{metadata['name']}"] = metadata["resourceVersion"]
    return found


def some(namespace: str) -> list[dict[str, Any]]:
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s", "namespace": namespace}, "spec": {"ports": [{"port": 80}]}}
    return [
        deployment("d", namespace),
        config_map("c", namespace, {"text": "one"}),
        secret("s", namespace, stringData={"word": CANARY}, data={"other": "eA=="}),
        service,
    ]


@contextmanager
def meanwhile(work: Any) -> Iterator[None]:
    """``work`` runs in the background, and may not fail."""
    errors: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        thread.join()
    assert not errors, errors


# -- present -------------------------------------------------------------------------------------------------------------


def test_predict_make_repeat_change(new_client: Any, namespace: str) -> None:
    assert objects(new_client(), some(namespace), check=True).actions == ["would_create"] * 4
    assert versions(new_client(), namespace) == {}

    made = objects(new_client(), some(namespace))
    assert (made.error, made.changed, made.actions) == (None, True, ["created"] * 4)
    before = versions(new_client(), namespace)
    assert {each["resource_version"] for each in made.results[1:]} <= set(before.values())

    time.sleep(1.1)  # managedFields' clock has seconds
    for check in (False, False, True):
        again = objects(new_client(), some(namespace), check=check, diff=True)
        assert (again.error, again.changed, again.actions, again.diff) == (None, False, ["unchanged"] * 4, [])
    assert versions(new_client(), namespace) == before

    changes = some(namespace)
    changes[0]["spec"]["replicas"] = 0
    changes[0]["spec"]["revisionHistoryLimit"] = 3
    changes[1]["data"] = {"text": "two"}
    del changes[2]["data"]
    predicted = objects(new_client(), changes, check=True, diff=True)
    assert versions(new_client(), namespace) == before
    assert predicted.actions == ["would_change", "would_change", "would_change", "unchanged"]
    real = objects(new_client(), changes, diff=True)
    assert real.actions == ["changed", "changed", "changed", "unchanged"]
    assert real.diff == predicted.diff
    assert real.diff[1]["before"]["data"] == {"text": "one"}
    assert real.diff[1]["after"]["data"] == {"text": "two"}
    assert real.diff[2]["before"]["data"] == {"word": "(hidden)", "other": "(hidden)"}
    assert real.diff[2]["after"]["data"] == {"word": "(hidden)"}
    assert CANARY not in json.dumps(real.diff)
    assert set(new_client().get("Secret", "s", namespace)["data"]) == {"word"}


def test_a_diff_shows_neither_defaults_nor_managed_fields(new_client: Any, namespace: str) -> None:
    made = objects(new_client(), [deployment("d", namespace)], diff=True)
    assert made.diff[0]["before"] == {}
    assert made.diff[0]["after"] == deployment("d", namespace)


def test_what_another_writes_meanwhile_is_not_our_change(new_client: Any, namespace: str) -> None:
    """A status, an annotation: the object's resourceVersion moves all the time, and still only our own change counts."""
    definition = [config_map("c", namespace)]
    objects(new_client(), definition)
    stop = threading.Event()
    turns = []

    def write() -> None:
        client = new_client()
        while not stop.is_set():
            client.patch("ConfigMap", "c", namespace, {"metadata": {"annotations": {"turn": str(len(turns))}}})
            turns.append(1)

    actions = set()
    with meanwhile(write):
        try:
            for _turn in range(15):
                actions |= set(objects(new_client(), definition).actions)
        finally:
            stop.set()
    assert actions == {"unchanged"}
    assert len(turns) > 15
    assert objects(new_client(), [config_map("c", namespace, {"a": "c"})]).actions == ["changed"]


def test_another_managers_field_is_a_conflict_unless_forced(new_client: Any, namespace: str) -> None:
    other = new_client()
    other.field_manager = "helm"
    other.apply(config_map("c", namespace, {"a": "theirs"}))
    before = versions(new_client(), namespace)
    for check in (True, False):
        outcome = objects(new_client(), [config_map("c", namespace, {"a": "ours"})], check=check)
        assert outcome.error is not None
        assert outcome.error.code == "CONFLICT"
        assert ".data.a belongs to helm" in outcome.error.sentence
        assert outcome.actions == ["failed"]
        assert not outcome.changed
    assert versions(new_client(), namespace) == before
    assert objects(new_client(), [config_map("c", namespace, {"a": "ours"})], check=True, force_conflicts=True).actions == ["would_change"]
    assert objects(new_client(), [config_map("c", namespace, {"a": "ours"})], force_conflicts=True).actions == ["changed"]


def test_taking_over_counts_as_a_change_once_and_is_predicted(new_client: Any, namespace: str) -> None:
    other = new_client()
    other.field_manager = "helm"
    other.apply(config_map("c", namespace))
    assert objects(new_client(), [config_map("c", namespace)], check=True).actions == ["would_change"]
    assert objects(new_client(), [config_map("c", namespace)]).actions == ["changed"]
    assert objects(new_client(), [config_map("c", namespace)], check=True).actions == ["unchanged"]
    assert objects(new_client(), [config_map("c", namespace)]).actions == ["unchanged"]


def test_a_bare_namespace_is_left_untouched(new_client: Any) -> None:
    name = f"edgemesh-test-{uuid.uuid4().hex[:8]}"
    bare = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}]
    try:
        assert objects(new_client(), bare).actions == ["created"]
        version = new_client().get("Namespace", name)["metadata"]["resourceVersion"]
        for _turn in range(2):
            assert objects(new_client(), bare).actions == ["unchanged"]
            assert objects(new_client(), bare, check=True).actions == ["unchanged"]
        assert new_client().get("Namespace", name)["metadata"]["resourceVersion"] == version
    finally:
        assert objects(new_client(), bare, state="absent").error is None


def test_a_failure_ends_the_run_after_its_stage_and_names_everything(new_client: Any, namespace: str) -> None:
    definitions = [deployment("d", namespace), config_map("Bad_Name", namespace), config_map("good", namespace)]
    outcome = objects(new_client(), definitions)
    assert outcome.actions == ["skipped", "failed", "created"]
    assert outcome.changed
    assert outcome.error is not None
    assert outcome.error.where == f"ConfigMap {namespace}/Bad_Name"
    assert "metadata.name" in outcome.error.why
    assert outcome.results[1]["error"]["fields"] == ["metadata.name"]
    assert "Deployment/d" not in versions(new_client(), namespace)


def test_several_failures_are_all_named(new_client: Any, namespace: str) -> None:
    outcome = objects(new_client(), [config_map("Bad_One", namespace), config_map("Bad_Two", namespace), config_map("good", namespace)])
    assert outcome.error is not None
    assert outcome.error.what == "2 of 3 objects failed"
    assert "Bad_One" in outcome.error.why
    assert "Bad_Two" in outcome.error.why


def test_an_admission_warning_is_shown_once(new_client: Any, namespace: str) -> None:
    client = new_client()
    client.patch("Namespace", namespace, None, {"metadata": {"labels": {"pod-security.kubernetes.io/warn": "restricted"}}})
    deadline = time.monotonic() + 10
    while True:  # admission learns of the label by its own watch
        outcome = objects(new_client(), [deployment("a", namespace), deployment("b", namespace)], check=True)
        if outcome.warnings or time.monotonic() > deadline:
            break
    assert len(outcome.warnings) == 1
    assert "PodSecurity" in outcome.warnings[0]


# -- namespaces and kinds of the same run ----------------------------------------------------------------------------------


@pytest.fixture
def crd(client: Client) -> Iterator[dict[str, Any]]:
    group = f"edgemesh-test-{uuid.uuid4().hex[:8]}.example"
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    version = {"name": "v1", "served": True, "storage": True, "schema": schema, "subresources": {"status": {}}}
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"widgets.{group}"},
        "spec": {"group": group, "scope": "Namespaced", "names": {"kind": "Widget", "plural": "widgets"}, "versions": [version]},
    }
    yield definition
    client.delete("CustomResourceDefinition", definition["metadata"]["name"])


def widget(crd: dict[str, Any], namespace: str, name: str = "w", **content: Any) -> dict[str, Any]:
    return {"apiVersion": f"{crd['spec']['group']}/v1", "kind": "Widget", "metadata": {"name": name, "namespace": namespace}, **content}


def test_a_namespace_and_a_kind_of_the_same_run(new_client: Any, crd: dict[str, Any]) -> None:
    name = f"edgemesh-test-{uuid.uuid4().hex[:8]}"
    made = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {"edgemesh-test": "yes"}}}
    # the worst order: what is needed comes last
    definitions = [widget(crd, name, spec={"size": 3}), config_map("c", name), deployment("d", name), crd, made]
    predicted = objects(new_client(), definitions, check=True, diff=True)
    assert predicted.error is None
    assert predicted.actions == ["would_create"] * 5
    assert predicted.warnings == []
    assert predicted.diff[0]["after"] == definitions[0]
    assert new_client().get("Namespace", name) is None
    assert new_client().get("CustomResourceDefinition", crd["metadata"]["name"]) is None

    assert objects(new_client(), definitions).actions == ["created"] * 5
    assert objects(new_client(), definitions).actions == ["unchanged"] * 5
    assert objects(new_client(), definitions, check=True).actions == ["unchanged"] * 5

    assert objects(new_client(), definitions, state="absent", check=True).actions == ["would_delete"] * 5
    gone = objects(new_client(), definitions, state="absent")
    assert (gone.error, gone.actions) == (None, ["deleted"] * 5)
    assert new_client().get("Namespace", name) is None
    assert objects(new_client(), definitions, state="absent").actions == ["absent"] * 5


def test_what_is_missing_is_refused_before_anything_changes(new_client: Any, namespace: str, crd: dict[str, Any]) -> None:
    nowhere = f"edgemesh-test-{uuid.uuid4().hex[:8]}"
    for broken, code in (
        (config_map("x", nowhere), "NAMESPACE_NOT_FOUND"),
        (widget(crd, namespace), "GROUP_NOT_FOUND"),
        ({**deployment("x", namespace), "kind": "Deploymnt"}, "KIND_NOT_FOUND"),
        ({**config_map("x", namespace), "apiVersion": "apps/v7"}, "GROUP_NOT_FOUND"),
    ):
        outcome = objects(new_client(), [config_map("c", namespace), broken])
        assert outcome.error is not None
        assert outcome.error.code == code
        assert not outcome.changed
        assert versions(new_client(), namespace) == {}


def test_in_check_mode_what_may_come_is_reported_and_what_can_not_be_is_refused(
    new_client: Any, namespace: str, crd: dict[str, Any]
) -> None:
    nowhere = f"edgemesh-test-{uuid.uuid4().hex[:8]}"
    outcome = objects(new_client(), [config_map("x", nowhere), widget(crd, namespace), config_map("c", namespace)], check=True)
    assert outcome.error is None
    assert outcome.actions == ["would_create"] * 3
    assert len(outcome.warnings) == 2
    assert all("could not be checked" in warning for warning in outcome.warnings)
    assert outcome.results[0]["note"] == f"the namespace {nowhere} does not exist (yet)"
    typo = objects(new_client(), [{**deployment("x", namespace), "kind": "Deploymnt"}], check=True)
    assert typo.error is not None
    assert "apps/v1 has ControllerRevision, DaemonSet, Deployment" in typo.error.sentence


def test_a_cluster_wide_object_with_a_namespace_loses_it(new_client: Any) -> None:
    name = f"edgemesh-test-{uuid.uuid4().hex[:8]}"
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": name, "namespace": "default"},
        "rules": [],
    }
    try:
        assert objects(new_client(), [role]).actions == ["created"]
        assert objects(new_client(), [role]).actions == ["unchanged"]
    finally:
        assert objects(new_client(), [role], state="absent").actions == ["deleted"]


# -- waiting ---------------------------------------------------------------------------------------------------------------


def test_waiting_ends_when_the_last_is_ready(new_client: Any, namespace: str, crd: dict[str, Any]) -> None:
    assert objects(new_client(), [crd]).error is None
    widgets = [widget(crd, namespace, name, spec={"size": 1}) for name in ("a", "b")]

    def report(name: str, **condition: str) -> None:
        path = f"/apis/{widgets[0]['apiVersion']}/namespaces/{namespace}/widgets/{name}/status"
        body = json.dumps({"status": {"conditions": [{"type": "Ready", **condition}]}}).encode()
        new_client()._call("PATCH", path, body=body, content_type="application/merge-patch+json", where="status")

    assert objects(new_client(), widgets).actions == ["created", "created"]  # without conditions there is nothing to wait for
    report("a", status="True")
    report("b", status="False", reason="Busy", message="still painting")

    late = objects(new_client(2), widgets)
    assert late.error is not None
    assert late.error.sentence.startswith(f"Widget {namespace}/b: not ready after 2 s: Ready is False (Busy: still painting)")
    assert [each.get("not_ready", "") for each in late.results] == ["", "Ready is False (Busy: still painting)"]

    def finish() -> None:
        time.sleep(1)
        report("b", status="True")

    started = time.monotonic()
    with meanwhile(finish):
        done = objects(new_client(), widgets)
    assert done.error is None
    assert 0.8 < time.monotonic() - started < 10


def test_a_deployment_that_does_not_come_up_names_its_pods_and_why(new_client: Any, client: Client, namespace: str) -> None:
    outcome = objects(new_client(15), [deployment("d", namespace, replicas=1)])
    assert outcome.error is not None
    assert outcome.error.code == "NOT_READY"
    assert "0 of 1 replicas are available; pod d-" in outcome.error.why
    has_nodes = any(
        each["type"] == "Ready" and each["status"] == "True" for node in client.list("Node")[0] for each in node["status"]["conditions"]
    )
    if has_nodes and _kubelet(client):
        assert "container main: ErrImagePull" in outcome.error.why or "container main: ImagePullBackOff" in outcome.error.why
    assert outcome.actions == ["created"]
    assert objects(new_client(), [deployment("d", namespace)]).error is None


def _kubelet(client: Client) -> bool:
    """Whether a node has reported lately (a lease), rather than being only an object."""
    return bool(client.list("Lease", "kube-node-lease")[0])


def test_without_waiting_it_does_not_wait(new_client: Any, namespace: str) -> None:
    outcome = objects(new_client(), [deployment("d", namespace, replicas=1)], wait=False)
    assert (outcome.error, outcome.actions) == (None, ["created"])
    balanced = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "lb", "namespace": namespace}}
    balanced["spec"] = {"type": "LoadBalancer", "loadBalancerClass": "edgemesh.example/none", "ports": [{"port": 80}]}  # type: ignore[assignment]
    outcome = objects(new_client(1), [balanced])
    assert outcome.error is not None
    assert "the load balancer has no address yet" in outcome.error.why


# -- absent, prune, foreign ------------------------------------------------------------------------------------------------


def test_a_finalizer_is_waited_for_and_named(new_client: Any, namespace: str) -> None:
    held = config_map("held", namespace, finalizers=["edgemesh.example/hold"])
    objects(new_client(), [held, config_map("free", namespace)])
    late = objects(new_client(2), [held, config_map("free", namespace)], state="absent")
    assert late.error is not None
    assert late.error.sentence.startswith(f"ConfigMap {namespace}/held: still there after 2 s: finalizers: edgemesh.example/hold.")
    assert late.actions == ["failed", "deleted"]

    applied = objects(new_client(2), [held])
    assert applied.error is not None, "what is going can't be applied"
    assert "still there" in applied.error.what
    assert objects(new_client(), [held], check=True).results[0]["note"] == "the one that is there is being deleted"

    def release() -> None:
        time.sleep(0.7)
        new_client().patch("ConfigMap", "held", namespace, {"metadata": {"finalizers": None}})

    with meanwhile(release):
        again = objects(new_client(), [config_map("held", namespace)])
    assert (again.error, again.actions) == (None, ["created"])


def test_a_namespace_that_does_not_go_says_what_is_in_it(new_client: Any, client: Client) -> None:
    with temporary_namespace(client) as name:
        objects(new_client(), [config_map("held", name, finalizers=["edgemesh.example/hold"])])
        try:
            late = objects(new_client(20), [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}], state="absent")
            assert late.error is not None
            assert "finalizer" in late.error.why
            assert "edgemesh.example/hold in 1 resource instances" in late.error.why
        finally:
            client.patch("ConfigMap", "held", name, {"metadata": {"finalizers": None}})


def test_a_successor_is_not_what_was_to_go(new_client: Any, namespace: str) -> None:
    """The service account "default" is made again at once; the one that was meant is gone all the same."""
    definition = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": namespace}}
    deadline = time.monotonic() + 20
    while new_client().get("ServiceAccount", "default", namespace) is None and time.monotonic() < deadline:
        time.sleep(0.1)
    outcome = objects(new_client(15), [definition], state="absent")
    assert (outcome.error, outcome.actions) == (None, ["deleted"])


OURS = {"app.kubernetes.io/managed-by": "edgemesh"}


def test_prune_removes_what_is_ours_and_not_listed(new_client: Any, namespace: str) -> None:
    shop = {**OURS, "edgemesh.nginx-istio/route": "shop"}
    everything = [
        config_map("listed", namespace, labels=shop),
        config_map("dropped", namespace, labels=shop),
        config_map("kept", namespace, labels=shop),
        config_map("other-route", namespace, labels={**OURS, "edgemesh.nginx-istio/route": "other"}),
        config_map("foreign", namespace, labels={"edgemesh.nginx-istio/route": "shop"}),
        secret("other-kind", namespace, stringData={"a": "b"}),
    ]
    objects(new_client(), everything)
    owner = new_client().get("ConfigMap", "listed", namespace)["metadata"]
    owned = config_map(
        "owned", namespace, labels=shop, ownerReferences=[{"apiVersion": "v1", "kind": "ConfigMap", "name": "listed", "uid": owner["uid"]}]
    )
    objects(new_client(), [owned])
    prune = {
        "labels": {"edgemesh.nginx-istio/route": "shop"},
        "kinds": [
            {"kind": "ConfigMap", "namespace": namespace, "keep": ["kept"]},
            {"api_version": "example.edgemesh/v1", "kind": "Nothing"},
        ],
    }
    for check, action in ((True, "would_delete"), (False, "deleted")):
        outcome = objects(new_client(), everything[:1], prune=prune, check=check)
        assert outcome.error is None
        assert [(each["name"], each["action"], each.get("pruned", False)) for each in outcome.results] == [
            ("listed", "unchanged", False),
            ("dropped", action, True),
        ]
    left = {name.partition("/")[2] for name in versions(new_client(), namespace)}
    assert left == {"listed", "kept", "other-route", "foreign", "owned", "other-kind"}
    assert not objects(new_client(), everything[:1], prune=prune).changed
    assert objects(new_client(), [], prune=prune, state="absent").actions == ["deleted"]
    with pytest.raises(EdgeError, match="at least one label is needed"):
        objects(new_client(), [], prune={**prune, "labels": {}})


def test_nothing_is_pruned_when_the_listed_are_not_in_place(new_client: Any, namespace: str) -> None:
    labels = {**OURS, "edgemesh.nginx-istio/route": "shop"}
    objects(new_client(), [config_map("old", namespace, labels=labels)])
    prune = {"labels": {"edgemesh.nginx-istio/route": "shop"}, "kinds": [{"kind": "ConfigMap", "namespace": namespace}]}
    assert objects(new_client(), [config_map("Bad_Name", namespace)], prune=prune).error is not None
    assert "ConfigMap/old" in versions(new_client(), namespace)


def test_foreign_objects_stay_when_asked(new_client: Any, namespace: str) -> None:
    objects(new_client(), [config_map("foreign", namespace), config_map("ours", namespace, labels=OURS)])
    wanted = [config_map(name, namespace, {"a": "new"}, labels=OURS) for name in ("foreign", "ours", "fresh")]
    for check, actions in ((True, ["unchanged", "would_change", "would_create"]), (False, ["unchanged", "changed", "created"])):
        assert objects(new_client(), wanted, keep_foreign=True, check=check).actions == actions
    assert objects(new_client(), wanted, keep_foreign=True, state="absent").actions == ["unchanged", "deleted", "deleted"]
    assert new_client().get("ConfigMap", "foreign", namespace)["data"] == {"a": "b"}


# -- hostile and large -----------------------------------------------------------------------------------------------------


def test_hostile_objects_are_refused_in_words(new_client: Any, namespace: str) -> None:
    deep: Any = "x"
    for _level in range(20000):
        deep = [deep]
    hostile = [
        config_map("a\nb", namespace),
        config_map("x" * 5000, namespace),
        config_map("a/b", namespace),
        config_map("..", namespace),
        config_map("a%2fb", namespace),
        config_map("nan", namespace, {"a": float("nan")}),
        config_map("deep", namespace, deep),
        config_map("bytes", namespace, {"a": b"x"}),
        config_map("wrong", namespace, {"a": {"b": "c"}}),
        config_map("large", namespace, {"a": "x" * 1_600_000}),
        config_map("huge", namespace, {"a": "x" * 4_000_000}),
        {**config_map("field", namespace), "dta": {}},
    ]
    outcome = objects(new_client(), hostile)
    assert outcome.error is not None
    assert "12 of 12 objects failed" in outcome.error.sentence
    for each in outcome.results:
        assert each["action"] == "failed"
        assert each["error"]["what"]
        assert len(json.dumps(each["error"])) < 10_000
        assert "\n" not in outcome.error.sentence
    assert versions(new_client(), namespace) == {}


def test_large_objects_are_fine(new_client: Any, namespace: str) -> None:
    definitions = [config_map(f"c{number}", namespace, {"a": "x" * 1_000_000}) for number in range(3)]
    assert objects(new_client(), definitions).actions == ["created"] * 3
    assert objects(new_client(), definitions, diff=True, check=True).actions == ["unchanged"] * 3


def test_a_value_of_a_secret_is_never_quoted(new_client: Any, client: Client, namespace: str) -> None:
    wrong_type = {**secret("s", namespace, stringData={"a": CANARY}), "type": "kubernetes.io/tls"}
    outcome = objects(new_client(), [wrong_type, secret("Bad_Name", namespace, stringData={"a": CANARY})])
    assert outcome.error is not None
    assert CANARY not in json.dumps([outcome.results, outcome.error.as_result()])
    for data in ({"a": CANARY}, {"a": {CANARY: CANARY}}, [CANARY]):
        with pytest.raises(EdgeError) as caught:
            client.apply(secret("s", namespace, data=data))
        assert CANARY not in str(caught.value.as_result()).replace(f"'{CANARY}'", "")


def test_many_objects_take_one_request_each(new_client: Any, namespace: str) -> None:
    definitions = [config_map(f"c{number}", namespace) for number in range(40)] + [
        secret(f"s{number}", namespace, data={}) for number in range(40)
    ]
    client = new_client()
    sent = []
    original = client._transport.send
    client._transport.send = lambda method, path, *more, **options: (sent.append((method, path)), original(method, path, *more, **options))[
        1
    ]
    assert objects(client, definitions).actions == ["created"] * 80
    assert len([each for each in sent if each[0] == "PATCH"]) == 80
    assert len(sent) == 80 + 2 + 1  # a LIST for each kind, and whether the namespace is there at all
