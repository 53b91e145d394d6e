# SPDX-License-Identifier: GPL-3.0-or-later
"""tls_secret's planning: what is made, kept, renewed, refused, and what races and checks do to it."""

from __future__ import annotations

import base64
import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from plugins.module_utils._errors import EdgeError
from plugins.module_utils._secrets.entries import entries
from plugins.module_utils._secrets.tls_secret import KNOWN_LATER, Delivery, Plan
from plugins.module_utils._x509 import chain, facts, pem, sign
from plugins.module_utils._x509.material import SHAPES, Material, from_secret, to_data
from tests.unit.x509.cluster import Cluster
from tests.unit.x509.pki import DAY, NOW, Pair, intermediate, leaf, root

OURS = {"app.kubernetes.io/managed-by": "edgemesh"}
CA_REF = {"namespace": "edge", "name": "ca"}
CA = {**CA_REF, "issue": {"usage": "ca"}}
SERVER = {"namespace": "mesh", "name": "shop", "for": "gateway", "issue": {"ca": CA_REF, "names": ["shop.example.com"]}}
CLIENT = {"namespace": "edge", "name": "client", "issue": {"usage": "client", "ca": CA_REF, "names": ["edge.example.com"]}}
CACERT = {"namespace": "mesh", "name": "shop-cacert", "for": "gateway_ca", "from": {"secret": CA_REF}}
NIC = {"namespace": "mesh", "name": "nic-ca", "for": "nginx_ca", "from": {"secret": CA_REF}}
ALL = [SERVER, CA, CLIENT, CACERT, NIC]


def run(
    cluster: Cluster,
    wanted: list[dict[str, Any]],
    *,
    check: bool = False,
    now: datetime = NOW,
    state: str = "present",
    lenient: bool = False,
) -> list[Plan]:
    delivery = Delivery(cluster, entries(wanted, state), check_mode=check, now=now, lenient=lenient)
    plans = delivery.present() if state == "present" else delivery.absent()
    for plan in plans:
        assert_no_key(cluster, plan.result(check), plan.difference(), delivery.warnings, repr(plan))
    return plans


def assert_no_key(cluster: Cluster, *shown: Any) -> None:
    text = json.dumps(shown)
    assert "PRIVATE KEY" not in text
    for each in cluster.secrets.values():
        for name, value in each.get("data", {}).items():
            if "key" in name:
                assert value[:40] not in text
                assert base64.b64decode(value).decode().splitlines()[1][:20] not in text


def actions(plans: list[Plan]) -> list[str]:
    return [each.action for each in plans]


def secret(cluster: Cluster, namespace: str, name: str) -> Material:
    return from_secret(cluster.secrets[(namespace, name)])


def refusal(cluster: Cluster, wanted: list[dict[str, Any]], **options: Any) -> EdgeError:
    versions = {key: each["metadata"]["resourceVersion"] for key, each in cluster.secrets.items()}
    with pytest.raises(EdgeError) as refused:
        run(cluster, wanted, **options)
    assert {key: each["metadata"]["resourceVersion"] for key, each in cluster.secrets.items()} == versions, "something was written"
    assert_no_key(cluster, refused.value.as_result(), refused.value.sentence)
    return refused.value


def test_everything_at_once_in_any_order_then_nothing_twice() -> None:
    cluster = Cluster()
    plans = run(cluster, ALL)
    assert actions(plans) == ["created"] * 5
    assert [each.entry.ref.name for each in plans] == ["shop", "ca", "client", "shop-cacert", "nic-ca"]
    for wanted, usage, name in ((SERVER, "server", "shop.example.com"), (CLIENT, "client", None)):
        made = secret(cluster, wanted["namespace"], wanted["name"])
        for rules in ("nginx", "envoy"):
            assert chain.verify(made.certs, secret(cluster, "mesh", "nic-ca").ca, rules=rules, purpose=usage, name=name, now=NOW).ok
        assert facts.key_matches(made.key, made.leaf)
    before = json.dumps(list(cluster.secrets.values()))
    for _again in range(2):
        cluster.requests.clear()
        assert actions(run(cluster, ALL)) == ["unchanged"] * 5
        assert {each.split()[0] for each in cluster.requests} == {"get"}
        assert len(cluster.requests) == 5
    assert json.dumps(list(cluster.secrets.values())) == before


def test_types_and_entries_are_the_readers() -> None:
    cluster = Cluster()
    run(cluster, ALL)
    assert {name: (each["type"], sorted(each["data"])) for (_namespace, name), each in cluster.secrets.items()} == {
        "ca": ("kubernetes.io/tls", ["ca.crt", "tls.crt", "tls.key"]),
        "shop": ("kubernetes.io/tls", ["tls.crt", "tls.key"]),
        "client": ("kubernetes.io/tls", ["tls.crt", "tls.key"]),
        "shop-cacert": ("Opaque", ["cacert"]),
        "nic-ca": ("nginx.org/ca", ["ca.crt"]),
    }
    assert all(OURS.items() <= each["metadata"]["labels"].items() for each in cluster.secrets.values())
    annotations = cluster.secrets[("mesh", "shop-cacert")]["metadata"]["annotations"]
    assert annotations["edgemesh.nginx-istio/source"] == "edge/ca"
    assert annotations["edgemesh.nginx-istio/source-version"] == cluster.secrets[("edge", "ca")]["metadata"]["resourceVersion"]
    assert cluster.secrets[("mesh", "shop")]["metadata"]["annotations"]["edgemesh.nginx-istio/issuer"] == "edge/ca"


def test_check_mode_on_an_empty_cluster_predicts_exactly_the_run() -> None:
    cluster = Cluster()
    plans = run(cluster, ALL, check=True)
    assert [each.result(True)["action"] for each in plans] == ["would_create"] * 5
    assert [each.result(True)["certificate"] for each in plans] == [KNOWN_LATER] * 5
    assert [each.difference()["after"]["data"] for each in plans] == [KNOWN_LATER] * 5
    assert cluster.secrets == {}
    assert actions(run(cluster, ALL)) == actions(plans)


def test_check_mode_when_the_ca_comes_from_an_earlier_task() -> None:
    assert actions(run(Cluster(), [SERVER, CACERT], check=True)) == ["created", "created"]
    error = refusal(Cluster(), [SERVER])
    assert (error.code, "edge/ca" in error.sentence) == ("CA_SECRET_MISSING", True)
    assert refusal(Cluster(), [CACERT]).code == "SOURCE_MISSING"


def changed_issue(**changes: Any) -> dict[str, Any]:
    return {**SERVER, "issue": {**SERVER["issue"], **changes}}


@pytest.mark.parametrize(
    ("wanted", "now", "why"),
    [
        (changed_issue(names=["shop.example.com", "www.example.com"]), NOW, "names: DNS:shop.example.com instead of"),
        (changed_issue(usage="client"), NOW, "extended key usage"),
        (changed_issue(key_type="rsa"), NOW, "key type: ecdsa instead of rsa"),
        (changed_issue(common_name="Shop"), NOW, "common name: shop.example.com instead of Shop"),
        (SERVER, NOW + 61 * DAY, "it expires at"),
        (changed_issue(renew_before=89), NOW + 2 * DAY, "within 89 days"),
    ],
)
def test_reasons_to_issue_anew(wanted: dict[str, Any], now: datetime, why: str) -> None:
    cluster = Cluster()
    run(cluster, [CA, SERVER])
    old = secret(cluster, "mesh", "shop").leaf
    (predicted,) = run(cluster, [wanted], now=now, check=True)
    (plan,) = run(cluster, [wanted], now=now)
    assert predicted.why[0] == plan.why[0]
    assert (predicted.action, plan.action) == ("changed", "changed")
    assert why in plan.why[0]
    assert secret(cluster, "mesh", "shop").leaf != old
    assert actions(run(cluster, [wanted], now=now)) == ["unchanged"]


def test_not_before_it_is_due() -> None:
    cluster = Cluster()
    run(cluster, [CA, SERVER])
    assert actions(run(cluster, [SERVER], now=NOW + 59 * DAY)) == ["unchanged"]


def test_no_renewal_in_every_run_at_the_end_of_the_ca() -> None:
    """A leaf can't outlive its CA: near its end a new one would be due at once, again and again."""
    cluster = Cluster()
    short = {**CA, "issue": {"usage": "ca", "days": 40}}
    run(cluster, [short, SERVER])
    late = NOW + 35 * DAY
    delivery = Delivery(cluster, entries([short, SERVER]), now=late)
    assert actions(delivery.present()) == ["unchanged", "unchanged"]
    assert "the CA expires at" in " ".join(delivery.warnings)


def test_a_broken_leaf_is_replaced() -> None:
    for entry, value in (("tls.key", leaf(root()).key_pem()), ("tls.crt", "junk"), ("tls.key", ""), ("tls.crt", leaf(root()).pem)):
        cluster = Cluster()
        run(cluster, [CA, SERVER])
        cluster.secrets[("mesh", "shop")]["data"][entry] = base64.b64encode(value.encode()).decode()
        assert actions(run(cluster, [CA, SERVER])) == ["unchanged", "changed"]
        assert actions(run(cluster, [CA, SERVER])) == ["unchanged", "unchanged"]


@pytest.mark.parametrize(
    ("issue", "damage", "why"),
    [
        ({"key_type": "rsa"}, {}, "its key is ecdsa, but rsa is asked for"),
        ({"common_name": "other"}, {}, "common name"),
        ({}, {"tls.key": leaf(root()).key_pem()}, "key does not belong"),
        ({}, {"tls.crt": leaf(root()).pem}, "is no CA"),
        ({}, {"tls.crt": root(not_before=NOW - 9 * DAY, not_after=NOW - DAY).pem}, "expired"),
    ],
)
def test_a_ca_is_never_replaced_silently(issue: dict[str, Any], damage: dict[str, str], why: str) -> None:
    cluster = Cluster()
    run(cluster, [CA])
    for name, value in damage.items():
        cluster.secrets[("edge", "ca")]["data"][name] = base64.b64encode(value.encode()).decode()
    for check in (False, True):
        error = refusal(cluster, [{**CA, "issue": {"usage": "ca", **issue}}, SERVER], check=check)
        assert error.code == "CA_DOES_NOT_FIT"
        assert why in error.sentence


def test_a_ca_that_another_run_has_just_made_is_not_lost() -> None:
    """It was not there yet when this run looked for it, and what it signed was when this run looked for that."""
    cluster, made = Cluster(), Cluster()
    run(made, ALL)
    cluster.before["list"] = lambda: cluster.secrets.update(made.secrets)
    assert set(actions(run(cluster, ALL))) == {"unchanged"}


def test_a_lost_ca_is_an_error_not_a_new_ca() -> None:
    cluster = Cluster()
    run(cluster, ALL)
    del cluster.secrets[("edge", "ca")]
    for check in (False, True):
        error = refusal(cluster, ALL, check=check)
        assert error.code == "CA_LOST"
        assert "backup" in error.sentence


@pytest.mark.parametrize("wanted", ALL, ids=lambda each: each["name"])
def test_what_is_not_ours_is_left_alone(wanted: dict[str, Any]) -> None:
    cluster = Cluster()
    if wanted is not CA:
        run(cluster, [CA])
    material = sign.new_ca("theirs", 300, now=NOW)
    kind = wanted.get("for") or ("ca" if wanted is CA else "tls")
    data = {name: base64.b64encode(value).decode() for name, value in to_data(SHAPES[kind], material).items()}
    cluster.put({"metadata": {"namespace": wanted["namespace"], "name": wanted["name"]}, "type": SHAPES[kind].type, "data": data})
    for check in (False, True):
        error = refusal(cluster, [wanted], check=check)
        assert error.code == "NOT_OURS"
        assert "somebody" in error.sentence
    assert refusal(cluster, [wanted], state="absent").code == "NOT_OURS"
    assert actions(run(cluster, [{**wanted, "adopt": True}])) == ["changed"]
    assert actions(run(cluster, [wanted])) == ["unchanged"]


def test_what_others_put_on_our_secret_stays() -> None:
    cluster = Cluster()
    run(cluster, [CA, SERVER])
    metadata = cluster.secrets[("mesh", "shop")]["metadata"]
    metadata["labels"]["team"] = "a"
    metadata["annotations"]["note"] = "b"
    metadata["finalizers"] = ["x/y"]
    assert actions(run(cluster, [{**SERVER, "labels": {"edgemesh.nginx-istio/route": "shop"}}])) == ["changed"]
    metadata = cluster.secrets[("mesh", "shop")]["metadata"]
    assert metadata["labels"] == {**OURS, "team": "a", "edgemesh.nginx-istio/route": "shop"}
    assert metadata["annotations"]["note"] == "b"
    assert metadata["finalizers"] == ["x/y"]


def test_somebody_else_creates_it_first() -> None:
    cluster, other = Cluster(), Cluster()
    run(other, [CA])
    theirs = other.secrets[("edge", "ca")]
    cluster.before["create"] = lambda: cluster.put(theirs) and None
    plans = run(cluster, [CA, SERVER])
    assert actions(plans) == ["unchanged", "created"]
    assert facts.issued_by(secret(cluster, "mesh", "shop").leaf, from_secret(theirs).leaf), "the leaf is of the CA that won"


def test_somebody_else_changes_it_in_between() -> None:
    cluster = Cluster()
    run(cluster, [CA, SERVER])

    def touch() -> None:
        there = cluster.secrets[("mesh", "shop")]
        there["metadata"]["labels"]["touched"] = "yes"
        cluster.put(there)

    cluster.before["replace"] = touch
    assert actions(run(cluster, [changed_issue(names=["new.example.com"])])) == ["changed"]
    assert cluster.secrets[("mesh", "shop")]["metadata"]["labels"]["touched"] == "yes"
    assert facts.dns_names(secret(cluster, "mesh", "shop").leaf) == ["new.example.com"]


def test_a_secret_of_another_type_is_made_anew() -> None:
    cluster = Cluster()
    run(cluster, [CA])
    cluster.put({"metadata": {"namespace": "mesh", "name": "nic-ca", "labels": OURS}, "type": "Opaque", "data": {}})
    assert actions(run(cluster, [NIC])) == ["recreated"]
    assert cluster.secrets[("mesh", "nic-ca")]["type"] == "nginx.org/ca"
    there = cluster.secrets[("mesh", "nic-ca")]
    there["immutable"] = True
    assert actions(run(cluster, [NIC])) == ["unchanged"]
    assert actions(run(cluster, [{**NIC, "labels": {"a": "b"}}])) == ["recreated"]


def files(folder: Path, **texts: str) -> dict[str, str]:
    for name, text in texts.items():
        (folder / name).write_text(text)
    return {name: str(folder / name) for name in texts}


def test_from_files_pem_and_another_secret_with_names_of_its_own(tmp_path: Path) -> None:
    ca, cluster = root(), Cluster()
    mid = intermediate(ca)
    end = leaf(mid)
    texts = {"certificate": end.pem + mid.pem, "key": end.key_pem("PKCS1"), "ca": ca.pem}
    cluster.put(
        {
            "metadata": {"namespace": "a", "name": "b"},
            "type": "Opaque",
            "data": {
                name: base64.b64encode(texts[role].encode()).decode()
                for name, role in (("c.pem", "certificate"), ("k.pem", "key"), ("r.pem", "ca"))
            },
        }
    )
    mapped = {"namespace": "a", "name": "b", "certificate": "c.pem", "key": "k.pem", "ca": "r.pem"}
    for number, source in enumerate(({"files": files(tmp_path, **texts)}, {"pem": texts}, {"secret": mapped})):
        wanted = {"namespace": "mesh", "name": f"w{number}", "from": source, "include_ca": True, "expect": {"names": ["shop.example.com"]}}
        assert actions(run(cluster, [wanted])) == ["created"]
        assert actions(run(cluster, [wanted])) == ["unchanged"]
        assert cluster.secrets[("mesh", f"w{number}")]["data"] == cluster.secrets[("mesh", "w0")]["data"]
    error = refusal(cluster, [{"namespace": "mesh", "name": "x", "from": {"secret": {**mapped, "key": "nope"}}}])
    assert (error.code, "c.pem, k.pem, r.pem" in error.sentence) == ("SECRET_KEY_MISSING", True)


def test_a_ca_from_files_issues_in_the_same_task(tmp_path: Path) -> None:
    cluster, ca = Cluster(), root()
    brought = {**CA_REF, "for": "ca", "from": {"files": files(tmp_path, certificate=ca.pem, key=ca.key_pem())}}
    wanted = [SERVER, CACERT, brought]
    assert actions(run(cluster, wanted, check=True)) == ["created"] * 3
    assert actions(run(cluster, wanted)) == ["created"] * 3
    assert actions(run(cluster, wanted)) == ["unchanged"] * 3
    other = root("Other")
    files(tmp_path, certificate=other.pem, key=other.key_pem())
    assert actions(run(cluster, wanted, check=True)) == ["changed"] * 3
    assert actions(run(cluster, wanted)) == ["changed"] * 3
    assert secret(cluster, "mesh", "shop-cacert").ca == [other.cert]
    assert facts.issued_by(secret(cluster, "mesh", "shop").leaf, other.cert)
    assert actions(run(cluster, wanted)) == ["unchanged"] * 3


def test_a_copy_of_what_is_renewed_is_foreseen() -> None:
    cluster = Cluster()
    copied = {"namespace": "b", "name": "copy", "from": {"secret": {"namespace": "mesh", "name": "shop"}}}
    run(cluster, [copied, SERVER, CA])
    late = NOW + 61 * DAY
    assert actions(run(cluster, [copied, SERVER, CA], now=late, check=True)) == ["changed", "changed", "unchanged"]
    assert actions(run(cluster, [copied, SERVER, CA], now=late)) == ["changed", "changed", "unchanged"]
    assert secret(cluster, "b", "copy").leaf == secret(cluster, "mesh", "shop").leaf


def test_a_chain_in_wrong_order_is_put_right(tmp_path: Path) -> None:
    ca, cluster = root(), Cluster()
    mid = intermediate(ca)
    end = leaf(mid)
    run(cluster, [{"namespace": "a", "name": "b", "from": {"files": files(tmp_path, certificate=mid.pem + end.pem, key=end.key_pem())}}])
    assert secret(cluster, "a", "b").certs == [end.cert, mid.cert]


def given(pair: Pair, **more: Any) -> dict[str, Any]:
    return {"namespace": "a", "name": "b", "from": {"pem": {"certificate": pair.pem, "key": pair.key_pem()}}, **more}


GOOD = leaf(root())
UNFIT = [
    (given(Pair(GOOD.cert, leaf(root()).key)), "KEY_MISMATCH"),
    (given(leaf(root(), not_before=NOW - 9 * DAY, not_after=NOW - DAY)), "CERT_EXPIRED"),
    (given(GOOD, expect={"usage": "client"}), "EKU_NO_CLIENTAUTH"),
    (given(GOOD, expect={"names": ["other.example.com"]}), "NAME_MISMATCH"),
    ({"namespace": "a", "name": "b", "for": "gateway_ca", "from": {"pem": {"ca": GOOD.pem}}}, "CA_FLAG_MISSING"),
    ({"namespace": "a", "name": "b", "for": "nginx_ca", "from": {"pem": {"ca": intermediate(root()).pem}}}, "ROOT_MISSING"),
    (given(GOOD, include_ca=True), "CA_MISSING"),
]


@pytest.mark.parametrize(("wanted", "code"), UNFIT, ids=[code for _wanted, code in UNFIT])
def test_what_the_reader_would_refuse_is_refused_unless_told(wanted: dict[str, Any], code: str) -> None:
    cluster = Cluster()
    for check in (False, True):
        error = refusal(cluster, [CA, wanted], check=check)
        assert error.code == code
        assert "check: warn" in error.sentence
    delivery = Delivery(cluster, entries([wanted]), lenient=True, now=NOW)
    assert actions(delivery.present()) == ["created"]
    assert any(code in warning for warning in delivery.warnings)


def test_the_ca_in_a_gateways_secret_may_be_its_clients() -> None:
    cluster, theirs = Cluster(), root("Clients' CA")
    material = {"certificate": GOOD.pem, "key": GOOD.key_pem(), "ca": theirs.pem}
    wanted = {"namespace": "a", "name": "b", "for": "gateway", "include_ca": True, "from": {"pem": material}}
    delivery = Delivery(cluster, entries([wanted]), now=NOW)
    assert actions(delivery.present()) == ["created"]
    assert secret(cluster, "a", "b").ca == [theirs.cert]


def test_every_entry_that_fails_is_named_and_none_is_written() -> None:
    error = refusal(Cluster(), [CA, UNFIT[0][0], {**CACERT, "from": {"secret": {"namespace": "no", "name": "such"}}}])
    assert "2 of 3" in error.sentence
    assert "a/b" in error.sentence
    assert "no/such" in error.sentence
    assert [each["code"] for each in error.details["errors"]] == ["KEY_MISMATCH", "SOURCE_MISSING"]


@pytest.mark.parametrize(
    ("wanted", "text"),
    [
        ({"namespace": "a", "name": "b", "issue": {"ca": CA_REF, "names": ["x"]}, "from": {"files": {"key": "x"}}}, "at most one"),
        ({"namespace": "A", "name": "b", "issue": {"usage": "ca"}}, "no namespace name"),
        ({"namespace": "a", "name": "../b", "issue": {"usage": "ca"}}, "no Secret name"),
        ({"namespace": "a", "name": "b", "issue": {"ca": CA_REF}}, "names"),
        ({"namespace": "a", "name": "b", "issue": {"names": ["x"]}}, "issue.ca"),
        ({"namespace": "a", "name": "b", "issue": {"ca": CA_REF, "names": ["a;b"]}}, "a;b"),
        ({"namespace": "a", "name": "b", "issue": {"usage": "ca", "names": ["x"]}}, "self-signed"),
        ({"namespace": "a", "name": "b", "for": "gateway", "issue": {"usage": "ca"}}, "usage ca"),
        ({"namespace": "a", "name": "b", "for": "nginx_ca", "issue": {"ca": CA_REF, "names": ["x"]}}, "only CA"),
        ({"namespace": "a", "name": "b", "issue": {"ca": CA_REF, "names": ["x"], "days": 10, "renew_before": 10}}, "don't fit"),
        ({"namespace": "a", "name": "b", "issue": {"ca": CA_REF, "names": ["x"], "days": 99999}}, "don't fit"),
        ({"namespace": "a", "name": "b", "from": {"files": {"certificate": "x"}}}, "lacks key"),
        ({"namespace": "a", "name": "b", "for": "nginx_ca", "from": {"files": {"key": "x"}}}, "lacks ca"),
    ],
)
def test_entries_that_contradict_themselves(wanted: dict[str, Any], text: str) -> None:
    error = refusal(Cluster(), [CA, wanted])
    assert error.code == "ENTRY_INVALID"
    assert "secrets[1] (" in error.sentence
    assert text in error.sentence


def test_circles_and_doubles() -> None:
    one = {"namespace": "a", "name": "b", "from": {"secret": {"namespace": "a", "name": "c"}}}
    two = {"namespace": "a", "name": "c", "from": {"secret": {"namespace": "a", "name": "b"}}}
    assert "circle" in refusal(Cluster(), [one, two]).sentence
    assert "twice" in refusal(Cluster(), [CA, CA]).sentence


def test_absent() -> None:
    cluster = Cluster()
    run(cluster, ALL)
    wanted = [{"namespace": each["namespace"], "name": each["name"]} for each in ALL]
    assert actions(run(cluster, wanted, state="absent", check=True)) == ["deleted"] * 5
    assert len(cluster.secrets) == 5
    assert actions(run(cluster, wanted, state="absent")) == ["deleted"] * 5
    assert cluster.secrets == {}
    assert actions(run(cluster, wanted, state="absent")) == ["absent"] * 5


def test_the_diff_of_a_renewal_shows_dates_and_fingerprints() -> None:
    cluster = Cluster()
    run(cluster, [CA, SERVER])
    (plan,) = run(cluster, [SERVER], now=NOW + timedelta(days=61))
    shown = plan.difference()
    assert shown["before"]["data"]["tls.crt"] != shown["after"]["data"]["tls.crt"]
    assert "SHA-256" in shown["after"]["data"]["tls.crt"][0]
    assert shown["after"]["data"]["tls.key"].startswith("ecdsa 256 bits, public key SHA-256")


def test_the_guard_against_keys_can_fail() -> None:
    cluster = Cluster()
    run(cluster, [CA])
    for leak in (cluster.secrets[("edge", "ca")]["data"]["tls.key"], secret(cluster, "edge", "ca").key_pem().decode()):
        with pytest.raises(AssertionError):
            assert_no_key(cluster, {"result": leak})
    assert pem.private_key(secret(cluster, "edge", "ca").key_pem())
