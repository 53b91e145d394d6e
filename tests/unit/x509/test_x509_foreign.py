# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets that somebody else made: left alone, used when fit, and asked for by name when missing."""

from __future__ import annotations

import base64
from datetime import datetime, timedelta, timezone
from typing import Any, Optional

import pytest

from plugins.module_utils._errors import EdgeError
from plugins.module_utils._secrets.entries import entries
from plugins.module_utils._secrets.tls_secret import Delivery
from plugins.module_utils._x509 import sign
from plugins.module_utils._x509.material import SHAPES, to_data

NOW = datetime.now(timezone.utc)
OURS = {"app.kubernetes.io/managed-by": "edgemesh"}
CA = sign.new_ca("a CA", 300, "ecdsa", NOW - timedelta(days=100))


class Cluster:
    """Secrets by namespace and name; counts what is written."""

    def __init__(self, *secrets: dict[str, Any]) -> None:
        self.secrets = {(each["metadata"]["namespace"], each["metadata"]["name"]): each for each in secrets}
        self.written: list[str] = []

    def get(self, kind: str, name: str, namespace: Optional[str] = None) -> Optional[dict[str, Any]]:
        return self.secrets.get((str(namespace), name))

    def list(
        self, kind: str, namespace: Optional[str] = None, labels: Optional[str] = None, *, metadata_only: bool = False
    ) -> tuple[list[dict[str, Any]], str]:
        return [], ""

    def create(self, manifest: dict[str, Any]) -> dict[str, Any]:
        self.written.append(f"create {manifest['metadata']['name']}")
        return manifest

    def replace(self, manifest: dict[str, Any]) -> dict[str, Any]:
        self.written.append(f"replace {manifest['metadata']['name']}")
        return manifest

    def delete(
        self, kind: str, name: str, namespace: Optional[str] = None, uid: Optional[str] = None, *, version: Optional[str] = None
    ) -> None:
        self.written.append(f"delete {name}")


def secret(name: str, kind: str = "tls", usage: str = "server", days: int = 90, labels: Optional[dict[str, str]] = None) -> dict[str, Any]:
    made = NOW - timedelta(days=1) if days > 0 else NOW - timedelta(days=20)
    material = CA if kind == "ca" else sign.new_leaf(CA, ["shop.example.com"], usage, days if days > 0 else 10, "ecdsa", "", made)
    data = {key: base64.b64encode(value).decode() for key, value in to_data(SHAPES[kind], material).items()}
    return {"metadata": {"namespace": "edge", "name": name, "labels": labels or {}}, "type": SHAPES[kind].type, "data": data}


def deliver(cluster: Cluster, *wanted: dict[str, Any], state: str = "present", check: bool = False) -> tuple[list[Any], Delivery]:
    delivery = Delivery(cluster, entries([{"namespace": "edge", **each} for each in wanted], state), check_mode=check, now=NOW)
    return (delivery.present() if state == "present" else delivery.absent()), delivery


REQUIRED = {"name": "public", "for": "tls", "expect": {"usage": "server", "names": ["shop.example.com"]}}
ISSUED = {
    "name": "public",
    "keep_foreign": True,
    "issue": {"usage": "server", "ca": {"namespace": "edge", "name": "ca"}, "names": ["shop.example.com"]},
}


def test_required_and_there() -> None:
    cluster = Cluster(secret("public"))
    (plan,), _delivery = deliver(cluster, REQUIRED)
    assert (plan.action, plan.result(False)["certificate"]["sans"], cluster.written) == ("unchanged", ["DNS:shop.example.com"], [])


def test_required_and_missing_writes_nothing_at_all() -> None:
    cluster = Cluster()
    with pytest.raises(EdgeError, match="Secret edge/public: the Secret does not exist") as refusal:
        deliver(cluster, {"name": "ca", "issue": {"usage": "ca"}}, REQUIRED)
    assert (refusal.value.code, cluster.written) == ("SECRET_MISSING", [])


def test_required_and_missing_may_be_made_before_the_real_run() -> None:
    (plan,), delivery = deliver(Cluster(), REQUIRED, check=True)
    assert plan.action == "absent"
    assert delivery.warnings == ["Secret edge/public does not exist (yet), so its fitness could not be checked."]


@pytest.mark.parametrize(
    ("there", "code"),
    [(secret("public", usage="client"), "EKU"), (secret("public", days=0), "EXPIRED")],
    ids=["client certificate", "expired"],
)
def test_required_and_unfit(there: dict[str, Any], code: str) -> None:
    with pytest.raises(EdgeError, match="not fit for its use") as refusal:
        deliver(Cluster(there), REQUIRED)
    assert code in refusal.value.code


def test_required_for_another_name() -> None:
    with pytest.raises(EdgeError, match="not fit for its use"):
        deliver(Cluster(secret("public")), {**REQUIRED, "expect": {"usage": "server", "names": ["other.example.com"]}})


def test_required_ca() -> None:
    assert deliver(Cluster(secret("corp", "ca")), {"name": "corp", "for": "gateway_ca"})[0][0].action == "unchanged"


def test_foreign_is_kept_and_judged() -> None:
    cluster = Cluster(secret("ca", "ca", labels=OURS), secret("public"))
    (plan,), _delivery = deliver(cluster, ISSUED)
    assert (plan.action, plan.why, cluster.written) == ("unchanged", ["it is somebody else's, and used as it is"], [])
    with pytest.raises(EdgeError, match="not fit for its use"):
        deliver(Cluster(secret("ca", "ca", labels=OURS), secret("public", usage="client")), ISSUED)


def test_foreign_is_refused_unless_kept() -> None:
    with pytest.raises(EdgeError, match="not ours"):
        deliver(Cluster(secret("ca", "ca", labels=OURS), secret("public")), {**ISSUED, "keep_foreign": False})


def test_foreign_ca_signs() -> None:
    cluster = Cluster(secret("ca", "ca"))
    plans, _delivery = deliver(cluster, {"name": "ca", "keep_foreign": True, "issue": {"usage": "ca"}}, ISSUED)
    assert ([plan.action for plan in plans], cluster.written) == (["unchanged", "created"], ["create public"])


def test_absent_spares_the_foreign() -> None:
    cluster = Cluster(secret("public"), secret("mine", labels=OURS))
    plans, _delivery = deliver(cluster, {"name": "public", "keep_foreign": True}, {"name": "mine"}, {"name": "none"}, state="absent")
    assert ([plan.action for plan in plans], cluster.written) == (["unchanged", "deleted", "absent"], ["delete mine"])
