# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from plugins.module_utils._kube import errors
from plugins.module_utils._kube.client import _hidden
from plugins.module_utils._kube.resources import Resource, known
from plugins.module_utils._kube.text import clean

SECRETS = Resource("v1", "Secret", "secrets", True)


def from_answer(code: int, data: bytes, retry_after: str = "", **asked: Any) -> errors.ApiError:
    return errors.from_answer(code, data, retry_after, errors.Asked(**asked))


def status(code: int, message: str = "", reason: str = "", **details: Any) -> bytes:
    return json.dumps({"kind": "Status", "message": message, "reason": reason, "code": code, "details": details}).encode()


def denied(user: str, verb: str, resource: str, group: str = "", namespace: str = "n") -> bytes:
    place = f'in the namespace "{namespace}"' if namespace else "at the cluster scope"
    return status(
        403, f'{resource} "x" is forbidden: User "{user}" cannot {verb} resource "{resource}" in API group "{group}" {place}', "Forbidden"
    )


def test_a_refusal_comes_with_the_role_that_lifts_it() -> None:
    error = from_answer(
        403,
        denied("system:serviceaccount:ci:bot", "patch", "secrets"),
        where="Secret n/x",
        verbs=("create", "patch"),
        resource=SECRETS,
        namespace="n",
    )
    assert error.sentence.startswith("Secret n/x: system:serviceaccount:ci:bot may not patch secrets in namespace n: ")
    role, binding = yaml.safe_load_all(error.as_result()["role"])
    assert role["kind"] == "Role"
    assert role["metadata"]["namespace"] == "n"
    assert role["rules"] == [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["create", "patch"]}]
    assert binding["kind"] == "RoleBinding"
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    assert binding["subjects"] == [{"kind": "ServiceAccount", "namespace": "ci", "name": "bot"}]


def test_cluster_wide_refusals_need_a_cluster_role() -> None:
    error = from_answer(403, denied("bob", "list", "nodes", namespace=""), where="nodes", verbs=("list",), resource=known("Node"))
    role, binding = yaml.safe_load_all(error.as_result()["role"])
    assert (role["kind"], binding["kind"]) == ("ClusterRole", "ClusterRoleBinding")
    assert "namespace" not in role["metadata"]
    assert binding["subjects"] == [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "bob"}]


def test_a_refused_impersonation_needs_the_right_to_impersonate() -> None:
    error = from_answer(
        403, denied("bob", "impersonate", "users", namespace=""), where="pods", verbs=("list",), resource=known("Pod"), namespace="n"
    )
    role, _binding = yaml.safe_load_all(error.as_result()["role"])
    assert role["kind"] == "ClusterRole"
    assert role["rules"] == [{"apiGroups": [""], "resources": ["users"], "verbs": ["impersonate"]}]


def test_a_role_for_a_hostile_user_name_is_still_one_document() -> None:
    hostile = "x}\\n---\\nkind: Evil"
    error = from_answer(403, denied(hostile, "get", "secrets"), where="w", resource=SECRETS, namespace="n")
    assert [each["kind"] for each in yaml.safe_load_all(error.as_result()["role"])] == ["Role", "RoleBinding"]


def test_admission_is_no_matter_of_roles() -> None:
    error = from_answer(403, status(403, 'pods "x" is forbidden: exceeded quota', "Forbidden"), where="w")
    assert "role" not in error.as_result()
    assert "exceeded quota" in error.why
    terminating = status(
        403, 'secrets "x" is forbidden: unable to create new content in namespace n because it is being terminated', "Forbidden"
    )
    assert from_answer(403, terminating, where="w").code == "TERMINATING"


def test_a_conflict_names_the_fields_and_their_managers() -> None:
    causes = [
        {"reason": "FieldManagerConflict", "message": 'conflict with "helm" using apps/v1', "field": ".spec.replicas"},
        {"reason": "FieldManagerConflict", "message": 'conflict with "kubectl"', "field": '.spec.template.spec.containers[name="c"].image'},
    ]
    error = from_answer(409, status(409, "Apply failed with 2 conflicts", "Conflict", causes=causes), where="Deployment n/x")
    assert error.code == "CONFLICT"
    assert not error.transient
    assert error.why == '.spec.replicas belongs to helm; .spec.template.spec.containers[name="c"].image belongs to kubectl'
    assert error.as_result()["conflicts"][0] == {"field": ".spec.replicas", "manager": "helm"}


@pytest.mark.parametrize(("precondition", "transient"), [(True, False), (False, True)])
def test_a_race_is_the_callers_only_if_it_named_a_version(precondition: bool, transient: bool) -> None:
    error = from_answer(409, status(409, "the object has been modified", "Conflict"), where="w", precondition=precondition)
    assert (error.code, error.transient) == ("MODIFIED", transient)


def test_what_is_not_found() -> None:
    missing = status(404, 'namespaces "n" not found', "NotFound", name="n", kind="namespaces")
    assert from_answer(404, missing, where="w").code == "NAMESPACE_NOT_FOUND"
    assert from_answer(404, status(404, "", "NotFound", name="x", kind="secrets"), where="w").code == "NOT_FOUND"
    assert from_answer(404, b"404 page not found", where="w", resource=known("VirtualService")).code == "KIND_NOT_FOUND"


def test_values_of_secrets_are_not_quoted() -> None:
    body = {"data": {"a": "Y2FuYXJ5LW9uZQ==", "b": 5}, "stringData": {"c": "canary-two"}, "metadata": {"name": "s"}}
    hidden = _hidden(SECRETS, body)
    message = (
        '.data.a: got Y2FuYXJ5LW9uZQ== and "canary-two", got &value.valueUnstructured{Value:map[string]interface {}{"x":"canary-three"}}'
    )
    error = from_answer(500, status(500, f"failed to create typed patch object: {message}"), where="w", hidden=hidden)
    assert error.code == "INVALID"
    for canary in ("Y2FuYXJ5LW9uZQ==", "canary-two", "canary-three"):
        assert canary not in str(error.as_result())
    assert _hidden(Resource("v1", "ConfigMap", "configmaps", True), body) == ()
    assert _hidden(SECRETS, [{"op": "replace", "path": "/data/a", "value": "canary-four"}])[0] == "canary-four"


@given(st.integers(300, 599), st.binary(max_size=200), st.text(max_size=10))
def test_no_answer_is_a_defect(code: int, data: bytes, retry_after: str) -> None:
    error = from_answer(code, data, retry_after, where="w", resource=SECRETS, verbs=("get",), namespace="n")
    assert error.status == code
    assert error.sentence.isprintable() or "\n" not in error.sentence


odd = st.recursive(
    st.none() | st.integers() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["causes", "name", "kind", "field", "reason", "message"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.integers(300, 599), st.fixed_dictionaries({"kind": st.just("Status")}, optional={"message": odd, "reason": odd, "details": odd}))
def test_no_status_is_a_defect(code: int, body: Any) -> None:
    assert from_answer(code, json.dumps(body).encode(), where="w").status == code


@given(st.text())
def test_clean_text_is_one_line_that_can_be_written(text: str) -> None:
    shown = clean(text, 50)
    assert len(shown) <= 51
    assert not any(mark in shown for mark in "\n\r\x1b\x00\u2028")
    shown.encode()
