# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import base64
import contextlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins.module_utils._errors import EdgeError
from plugins.module_utils._kube.item import FOUNDATION, REST, SUPPORT, Item
from plugins.module_utils._kube.manifests import contains, normalise, parse, prepare

CANARY = "canary-5c1f"


def config_map(**metadata: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "n", **metadata}}


def secret(**content: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a", "namespace": "n"}, **content}


def prepared(*definitions: Any, namespace: str | None = None) -> list[dict[str, Any]]:
    return prepare(parse(list(definitions)), namespace)


def test_definitions_come_as_mappings_text_and_files(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c, namespace: n}\n---\n---\n# nothing\n")
    text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: b, namespace: n}\n---\nkind: Namespace\napiVersion: v1\nmetadata: {name: d}\n"
    found = prepare(parse([config_map(), text], [str(file)]))
    assert [each["metadata"]["name"] for each in found] == ["a", "b", "d", "c"]
    assert len(prepare(parse(config_map()))) == 1
    assert len(prepare(parse(text))) == 2
    assert prepare(parse([])) == []
    assert prepare(parse("")) == []


def test_lists_are_unpacked() -> None:
    inner = {"kind": "ConfigMapList", "apiVersion": "v1", "items": [config_map(name="b")]}
    found = prepared({"apiVersion": "v1", "kind": "List", "items": [config_map(), inner]})
    assert [each["metadata"]["name"] for each in found] == ["a", "b"]
    assert len(prepared([config_map(), config_map(name="b")])) == 2


@pytest.mark.parametrize(
    ("definition", "words"),
    [
        (5, r"definitions\[0\]: this is no object: it is a int"),
        ({}, "apiVersion is missing"),
        ({"apiVersion": 1, "kind": "ConfigMap"}, "apiVersion is missing"),
        ({"apiVersion": "v1"}, "kind is missing"),
        ({"apiVersion": "v1/../..", "kind": "X"}, "no API version"),
        ({"apiVersion": "a b/v1", "kind": "X"}, "no API version"),
        ({"apiVersion": "v1", "kind": "Config/Map"}, "no kind"),
        ({"apiVersion": "v1", "kind": "ConfigMap"}, "metadata.name is missing"),
        ({"apiVersion": "v1", "kind": "ConfigMap", "metadata": []}, "metadata.name is missing"),
        (config_map(name=5), "metadata.name is missing or no text"),
        (config_map(name=""), "metadata.name is missing"),
        (config_map(name=None, generateName="a-"), "generateName can't be applied"),
        (config_map(namespace=5), "metadata.namespace is no text"),
        (secret(data=[]), r"definitions\[0\].data: this is no mapping"),
        (secret(data={"k": {"x": CANARY}}), r"definitions\[0\].data\[k\]: the value is no text: it is of type dict"),
        (secret(data={"k": CANARY}), r"definitions\[0\].data\[k\]: the value is not base64"),
        (secret(stringData={"k": [CANARY]}), r"stringData\[k\]: the value is no text"),
        ("a: [b", r"definitions\[0\]: this is not YAML: line 2, column 1"),
        (f"password: {CANARY}: {CANARY}", "this is not YAML"),
        ("!!python/object/apply:os.system ['true']", "this is not YAML"),
    ],
)
def test_what_can_not_be_an_object_is_refused_by_place(definition: Any, words: str) -> None:
    with pytest.raises(EdgeError, match=words) as caught:
        prepared(definition)
    assert CANARY not in str(caught.value.as_result())


def test_an_object_listed_twice_is_refused() -> None:
    with pytest.raises(EdgeError, match=r"definitions\[1\]: the same object is listed twice: ConfigMap a is also definitions\[0\]"):
        prepared(config_map(), config_map())
    assert len(prepared(config_map(), config_map(namespace="m"))) == 2


def test_a_file_that_can_not_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(EdgeError, match=r"missing\.yaml: this file can't be read: No such file"):
        parse([], [str(tmp_path / "missing.yaml")])
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(EdgeError, match="not UTF-8"):
        parse([], [str(tmp_path / "binary.yaml")])


def test_the_namespace_is_a_default() -> None:
    first, second = prepared(config_map(namespace=None), config_map(name="b"), namespace="m")
    assert first["metadata"]["namespace"] == "m"
    assert second["metadata"]["namespace"] == "n"


def test_what_only_the_server_keeps_is_dropped() -> None:
    (found,) = prepared(config_map(uid="x", resourceVersion="5", managedFields=[], creationTimestamp=None, generation=4, labels={"a": "b"}))
    assert found["metadata"] == {"name": "a", "namespace": "n", "labels": {"a": "b"}}


def test_string_data_becomes_data_and_wins() -> None:
    found = normalise(secret(data={"a": "eA==", "b": "eQ=="}, stringData={"a": "ä"}))
    assert "stringData" not in found
    assert base64.b64decode(found["data"]["a"]).decode() == "ä"
    assert found["data"]["b"] == "eQ=="
    assert normalise(config_map()) == config_map()


@pytest.mark.parametrize(
    ("live", "wanted", "yes"),
    [
        ({"a": 1, "b": 2}, {"a": 1}, True),
        ({"a": 1}, {"a": 2}, False),
        ({}, {"a": None}, True),
        ({"a": [1, {"b": 2, "c": 3}]}, {"a": [1, {"b": 2}]}, True),
        ({"a": [1, 2]}, {"a": [1]}, False),
        ({"a": 1}, {"a": {"b": 1}}, False),
        (None, {}, False),
    ],
)
def test_contains(live: Any, wanted: Any, yes: bool) -> None:
    assert contains(live, wanted) is yes


@pytest.mark.parametrize(
    ("api_version", "kind", "stage"),
    [
        ("v1", "Namespace", FOUNDATION),
        ("apiextensions.k8s.io/v1", "CustomResourceDefinition", FOUNDATION),
        ("v1", "Secret", SUPPORT),
        ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding", SUPPORT),
        ("apps/v1", "Deployment", REST),
        ("networking.istio.io/v1", "Gateway", REST),
        ("example.com/v1", "Secret", REST),
    ],
)
def test_stages(api_version: str, kind: str, stage: int) -> None:
    assert Item({"apiVersion": api_version, "kind": kind, "metadata": {"name": "a"}}).stage == stage


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | st.text(),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=8), children, max_size=4),
    max_leaves=12,
)
manifest_like = st.fixed_dictionaries(
    {},
    optional={
        "apiVersion": st.just("v1") | json_values,
        "kind": st.sampled_from(["Secret", "ConfigMap", "List"]) | json_values,
        "metadata": st.fixed_dictionaries({}, optional={"name": json_values, "namespace": json_values}) | json_values,
        "data": json_values,
        "stringData": json_values,
        "items": json_values,
    },
)


@given(st.lists(manifest_like | json_values, max_size=3))
def test_no_input_is_a_defect(definitions: list[Any]) -> None:
    with contextlib.suppress(EdgeError):
        for manifest in prepare(parse(definitions), "n"):
            assert Item(manifest).title.isprintable()
