# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import base64
import json
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from plugins.module_utils._kube.diff import HIDDEN, HIDDEN_OTHER, difference
from plugins.module_utils._kube.ownership import applied_fields, merged, project

FIELDS = {
    "f:metadata": {"f:labels": {"f:app": {}}},
    "f:spec": {
        "f:replicas": {},
        "f:template": {
            "f:spec": {
                "f:containers": {
                    'k:{"name":"main"}': {
                        ".": {},
                        "f:name": {},
                        "f:image": {},
                        "f:ports": {'k:{"containerPort":80,"protocol":"TCP"}': {".": {}, "f:containerPort": {}}},
                    }
                },
                "f:volumes": {".": {}},
            }
        },
        "f:finalizers": {'v:"x"': {}},
    },
}


def live(replicas: int = 1, **metadata: Any) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": "d",
            "namespace": "n",
            "uid": "u",
            "resourceVersion": "5",
            "labels": {"app": "d", "other": "theirs"},
            "managedFields": [
                {"manager": "edgemesh", "operation": "Apply", "fieldsV1": FIELDS},
                {"manager": "edgemesh", "operation": "Update", "fieldsV1": {"f:status": {}}},
                {"manager": "kcm", "operation": "Apply", "fieldsV1": {"f:status": {}}},
            ],
            **metadata,
        },
        "spec": {
            "replicas": replicas,
            "revisionHistoryLimit": 10,
            "finalizers": ["w", "x"],
            "template": {
                "spec": {
                    "dnsPolicy": "ClusterFirst",
                    "volumes": [{"name": "v"}],
                    "containers": [
                        {"name": "injected", "image": "proxy"},
                        {
                            "name": "main",
                            "image": "web",
                            "imagePullPolicy": "Always",
                            "ports": [{"containerPort": 80, "protocol": "TCP"}, {"containerPort": 81, "protocol": "TCP"}],
                        },
                    ],
                }
            },
        },
        "status": {"replicas": 1},
    }


def test_only_the_fields_that_we_applied_are_shown() -> None:
    shown = difference("Deployment n/d", live(), live(1), live(2), "edgemesh")
    assert shown["before"] == {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "d", "namespace": "n", "labels": {"app": "d"}},
        "spec": {
            "replicas": 1,
            "finalizers": ["x"],
            "template": {"spec": {"volumes": [], "containers": [{"name": "main", "image": "web", "ports": [{"containerPort": 80}]}]}},
        },
    }
    assert shown["after"] == {**shown["before"], "spec": {**shown["before"]["spec"], "replicas": 2}}
    assert shown["before_header"] == shown["after_header"] == "Deployment n/d"


def test_fields_that_we_give_up_are_shown_as_gone() -> None:
    after = live()
    del after["spec"]["replicas"]
    after["metadata"]["managedFields"] = [
        {"manager": "edgemesh", "operation": "Apply", "fieldsV1": {"f:metadata": {"f:labels": {"f:app": {}}}}}
    ]
    shown = difference("x", live(), live(), after, "edgemesh")
    assert shown["before"]["spec"]["replicas"] == 1
    assert "replicas" not in shown["after"]["spec"]


def test_an_object_to_come_is_shown_as_it_is_written() -> None:
    manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"x": "y"}}
    assert difference("x", manifest, None, None, "edgemesh") == {"before_header": "x", "after_header": "x", "before": {}, "after": manifest}


def test_managed_fields_of_others_are_theirs() -> None:
    assert applied_fields(live(), "edgemesh") == FIELDS
    assert applied_fields(live(), "kcm") == {"f:status": {}}
    assert applied_fields(live(), "nobody") == {}
    assert applied_fields({}, "edgemesh") == {}
    assert applied_fields({"metadata": {"managedFields": "x"}}, "edgemesh") == {}
    assert merged({"f:a": {"f:b": {}}}, {"f:a": {"f:c": {}}, "f:d": {}}) == {"f:a": {"f:b": {}, "f:c": {}}, "f:d": {}}


def _secret(data: dict[str, bytes], **metadata: Any) -> dict[str, Any]:
    fields = {"f:data": {f"f:{name}": {} for name in data}, "f:metadata": {"f:annotations": {}}}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": "s",
            "namespace": "n",
            "managedFields": [{"manager": "edgemesh", "operation": "Apply", "fieldsV1": fields}],
            **metadata,
        },
        "data": {name: base64.b64encode(value).decode() for name, value in data.items()},
    }


def _certificate(name: str) -> tuple[bytes, bytes]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime(2026, 1, 1, tzinfo=timezone.utc)
    built = x509.CertificateBuilder(subject, subject, key.public_key(), 5, now, now + timedelta(days=9)).sign(key, hashes.SHA256())
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return built.public_bytes(serialization.Encoding.PEM), private


def test_of_a_secret_only_names_and_certificates_are_shown() -> None:
    certificate, key = _certificate("shop")
    other_certificate, other_key = _certificate("shop")
    before = _secret({"tls.crt": certificate, "tls.key": key, "same": b"word", "mixed": certificate + key})
    after = _secret(
        {"tls.crt": other_certificate + certificate, "tls.key": other_key, "same": b"word", "mixed": certificate + other_key, "new": b"x"}
    )
    shown = difference("Secret n/s", after, before, after, "edgemesh")
    assert shown["before"]["data"]["tls.key"] == HIDDEN
    assert shown["after"]["data"]["tls.key"] == HIDDEN_OTHER
    assert shown["after"]["data"]["same"] == shown["before"]["data"]["same"] == HIDDEN
    assert shown["after"]["data"]["new"] == HIDDEN_OTHER
    assert shown["before"]["data"]["mixed"] == HIDDEN
    (fact,) = shown["before"]["data"]["tls.crt"]
    fingerprint = x509.load_pem_x509_certificate(certificate).fingerprint(hashes.SHA256()).hex()
    assert fact == f"certificate SHA-256 {fingerprint}, CN=shop, until 2026-01-10T00:00:00Z"
    assert len(shown["after"]["data"]["tls.crt"]) == 2
    _nothing_of(key, shown)
    _nothing_of(other_key, shown)


def test_a_secret_to_come_is_hidden_too() -> None:
    _certificate_text, key = _certificate("shop")
    manifest = _secret({"tls.key": key})
    shown = difference("x", manifest, None, None, "edgemesh")
    assert shown["after"]["data"] == {"tls.key": HIDDEN}
    _nothing_of(key, shown)


def test_the_copy_that_kubectl_leaves_is_hidden() -> None:
    name = "kubectl.kubernetes.io/last-applied-configuration"
    manifest = _secret({"a": b"b"}, annotations={name: '{"data": "canary"}'})
    assert "canary" not in json.dumps(difference("x", manifest, manifest, manifest, "edgemesh"))
    assert "canary" not in json.dumps(difference("x", manifest, None, None, "edgemesh"))


def _nothing_of(key: bytes, shown: Any) -> None:
    text = json.dumps(shown)
    body = "".join(key.decode().splitlines()[1:-1])
    assert body[:40] not in text
    assert base64.b64encode(key).decode()[:40] not in text


@pytest.mark.parametrize(
    "value", ["", "!", "AAAA", base64.b64encode(b"-----BEGIN CERTIFICATE-----\nAAA\n-----END CERTIFICATE-----\n").decode(), None, 5]
)
def test_odd_values_are_hidden_or_public_but_never_a_defect(value: Any) -> None:
    manifest = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": {"a": value}}
    shown = difference("x", manifest, None, None, "edgemesh")["after"]["data"]["a"]
    assert shown == HIDDEN or shown[0].startswith("certificate SHA-256 ")


keys = st.sampled_from([".", "f:a", "f:b", 'k:{"n":1}', 'v:"x"', "i:0", "k:broken", "v:", "odd"])
fields = st.recursive(st.just({}), lambda inner: st.dictionaries(keys, inner, max_size=3), max_leaves=10)
values = st.recursive(
    st.none() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "n"]), inner, max_size=3),
    max_leaves=10,
)


@given(values, fields)
def test_a_projection_adds_nothing(value: Any, named: Any) -> None:
    shown = project(value, named)
    assert isinstance(shown, type(value))
    if isinstance(value, dict):
        assert set(shown) <= set(value)
