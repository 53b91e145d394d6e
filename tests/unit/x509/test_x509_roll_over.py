# SPDX-License-Identifier: GPL-3.0-or-later
"""From one private CA to the next: both trusted until every leaf has moved, and no step before it is safe."""

from __future__ import annotations

import base64
from datetime import timedelta
from typing import Any

import pytest

from plugins.module_utils._lists import Run
from plugins.module_utils._secrets import authority
from plugins.module_utils._secrets.entries import entries
from plugins.module_utils._secrets.tls_secret import KNOWN_LATER, Delivery
from plugins.module_utils._x509 import chain, facts
from tests.unit.x509.cluster import Cluster
from tests.unit.x509.pki import DAY, NOW, leaf, root
from tests.unit.x509.test_x509_delivery import ALL, CA, CA_REF, CACERT, CLIENT, NIC, SERVER, actions, refusal, run, secret

LATER = NOW + 30 * DAY


def rolling(stage: str, **issue: Any) -> dict[str, Any]:
    return {**CA, "issue": {"usage": "ca", "roll_over": stage, **issue}}


def together(stage: str, **issue: Any) -> list[dict[str, Any]]:
    return [rolling(stage, **issue) if each is CA else each for each in ALL]


def trusts(cluster: Cluster) -> None:
    """Every leaf passes with every copy of the CA, by both rules: whoever has which, nothing fails."""
    for wanted, usage in ((SERVER, "server"), (CLIENT, "client")):
        made = secret(cluster, wanted["namespace"], wanted["name"])
        for copy in ("shop-cacert", "nic-ca"):
            for rules in ("nginx", "envoy"):
                verdict = chain.verify(made.certs, secret(cluster, "mesh", copy).ca, rules=rules, purpose=usage, now=LATER)
                assert verdict.ok, (wanted["name"], copy, verdict.text)


def test_the_three_steps_and_each_again() -> None:
    cluster = Cluster()
    run(cluster, ALL)
    old = secret(cluster, "edge", "ca").leaf
    for stage, changed in (
        ("add", {"ca", "shop-cacert", "nic-ca"}),
        ("switch", {"ca", "shop", "client", "shop-cacert", "nic-ca"}),
        ("finish", {"ca", "shop-cacert", "nic-ca"}),
    ):
        predicted = run(cluster, together(stage), now=LATER, check=True)
        plans = run(cluster, together(stage), now=LATER)
        assert {each.entry.ref.name for each in plans if each.changes} == changed, stage
        assert actions(predicted) == actions(plans), stage
        trusts(cluster)
        if stage != "finish":  # once finished, a further add is the next roll-over
            assert actions(run(cluster, together(stage), now=LATER)) == ["unchanged"] * 5, stage
            assert actions(run(cluster, ALL, now=LATER)) == ["unchanged"] * 5, "an ordinary run in between changes nothing"
    ca = secret(cluster, "edge", "ca")
    assert old not in ca.ca
    assert ca.ca == ca.certs == secret(cluster, "mesh", "nic-ca").ca
    assert facts.issued_by(secret(cluster, "mesh", "shop").leaf, ca.leaf)
    assert actions(run(cluster, together("finish"), now=LATER)) == ["unchanged"] * 5
    assert sorted(cluster.secrets[("edge", "ca")]["data"]) == ["ca.crt", "tls.crt", "tls.key"]


def test_what_is_not_known_before_the_run_is_said() -> None:
    cluster = Cluster()
    run(cluster, ALL)
    plans = {each.entry.ref.name: each for each in run(cluster, together("add"), now=LATER, check=True)}
    assert plans["ca"].difference()["after"]["data"] == KNOWN_LATER
    assert plans["nic-ca"].result(True)["certificate"] == KNOWN_LATER
    assert plans["ca"].why == ["roll-over: add"]


def test_no_switch_before_all_copies_trust_the_second_ca() -> None:
    cluster = Cluster()
    run(cluster, ALL)
    run(cluster, [rolling("add"), CACERT, CLIENT, SERVER], now=LATER)
    for check in (False, True):
        error = refusal(cluster, together("switch"), now=LATER, check=check)
        assert error.code == "CA_NOT_TRUSTED_YET"
        assert error.details["secrets"] == ["Secret mesh/nic-ca"]
    run(cluster, [NIC], now=LATER)
    assert "changed" in actions(run(cluster, together("switch"), now=LATER))


def test_the_lists_that_are_late_are_named() -> None:
    """Each list runs add, then each switch, then finish."""
    cluster = Cluster()
    theirs = [
        {"namespace": "mesh", "name": "store", "issue": {"ca": CA_REF}, "users": {"store": ["t.example"]}},
        {**CACERT, "name": "store-cacert", "users": {"store": []}},
    ]

    def run_theirs(*ca: dict[str, Any]) -> list[str]:
        listed = entries([*ca, *theirs])
        return actions(Delivery(cluster, listed, run=Run("team-b", frozenset({"store"})), now=LATER).present())

    run(cluster, ALL)
    run_theirs()
    run(cluster, together("add"), now=LATER)
    error = refusal(cluster, together("switch"), now=LATER)
    assert "Secret mesh/store-cacert (route store of list team-b)" in error.sentence
    assert run_theirs(rolling("add")) == ["unchanged", "unchanged", "changed"]
    run(cluster, together("switch"), now=LATER)
    error = refusal(cluster, together("finish"), now=LATER)
    assert (error.code, "Secret mesh/store (route store of list team-b)" in error.sentence) == ("CA_STILL_NEEDED", True)
    assert run_theirs(rolling("switch")) == ["unchanged", "changed", "changed"]
    run(cluster, together("finish"), now=LATER)
    assert run_theirs(rolling("finish")) == ["unchanged", "unchanged", "changed"]
    assert len(secret(cluster, "mesh", "store-cacert").ca) == 1


def test_the_old_ca_stays_trusted_while_a_leaf_of_it_is_in_use() -> None:
    """Also one that this task doesn't know, and a copy of one."""
    cluster = Cluster()
    copied = {"namespace": "b", "name": "copy", "from": {"secret": {"namespace": "mesh", "name": "shop"}}}
    other = {"namespace": "c", "name": "other", "issue": {"ca": CA["issue"] and {"namespace": "edge", "name": "ca"}, "names": ["o"]}}
    run(cluster, [*ALL, copied, other])
    run(cluster, together("add"), now=LATER)
    run(cluster, together("switch"), now=LATER)
    error = refusal(cluster, together("finish"), now=LATER)
    assert error.code == "CA_STILL_NEEDED"
    assert error.details["secrets"] == ["Secret b/copy", "Secret c/other"]
    run(cluster, [copied, other], now=LATER)
    assert "changed" in actions(run(cluster, together("finish"), now=LATER))


def test_where_secrets_may_not_be_listed_it_looks_where_it_may_and_says_so() -> None:
    cluster = Cluster()
    run(cluster, ALL)
    cluster.unlistable = {("Secret", None), ("ConfigMap", None)}
    run(cluster, together("add"), now=LATER)
    delivery = Delivery(cluster, entries(together("switch")), now=LATER)
    delivery.present()
    assert [each for each in delivery.warnings if "Secrets in the whole cluster" in each]


@pytest.mark.parametrize(
    ("steps", "stage", "fix"),
    [
        ([], "switch", "add it"),
        (["add"], "finish", "switch to it"),
        (["add", "switch"], "cancel", "finish"),
    ],
)
def test_steps_out_of_order_are_refused(steps: list[str], stage: str, fix: str) -> None:
    cluster = Cluster()
    run(cluster, ALL)
    for each in steps:
        run(cluster, together(each), now=LATER)
    error = refusal(cluster, together(stage), now=LATER)
    assert (error.code, fix in error.fix) == ("ROLL_OVER_ORDER", True)


def test_add_can_be_taken_back() -> None:
    cluster = Cluster()
    run(cluster, ALL)
    before = {name: each["data"] for name, each in cluster.secrets.items()}
    run(cluster, together("add"), now=LATER)
    run(cluster, together("cancel"), now=LATER)
    assert {name: each["data"] for name, each in cluster.secrets.items()} == before
    assert actions(run(cluster, together("cancel"), now=LATER)) == ["unchanged"] * 5


def test_an_interrupted_roll_over_goes_on_where_it_was() -> None:
    """All three steps again after a stop behind the second: the first two find nothing to do."""
    cluster = Cluster()
    run(cluster, ALL)
    for stage in ("add", "switch"):
        run(cluster, together(stage), now=LATER)
    signing = secret(cluster, "edge", "ca").leaf
    for stage in ("add", "switch"):
        assert actions(run(cluster, together(stage), now=LATER)) == ["unchanged"] * 5
    run(cluster, together("finish"), now=LATER)
    assert secret(cluster, "edge", "ca").ca == [signing]


def test_to_another_kind_of_key_and_from_an_expired_ca() -> None:
    cluster = Cluster()
    run(cluster, ALL)
    end = secret(cluster, "edge", "ca").leaf.not_valid_after_utc
    late = end + timedelta(days=1)
    assert refusal(cluster, ALL, now=late).code == "CA_DOES_NOT_FIT"
    run(cluster, [rolling("add", key_type="rsa")], now=late)
    run(cluster, [CACERT, NIC], now=late)
    run(cluster, together("switch", key_type="rsa"), now=late)
    run(cluster, together("finish", key_type="rsa"), now=late)
    assert facts.facts(secret(cluster, "edge", "ca").leaf)["key"]["type"] == "rsa"
    assert chain.verify(secret(cluster, "mesh", "shop").certs, secret(cluster, "mesh", "nic-ca").ca, now=late).ok


def test_two_cas_made_on_one_day_are_told_apart() -> None:
    cluster = Cluster()
    run(cluster, ALL)
    run(cluster, together("add"))
    names = [facts.name_text(each.subject) for each in secret(cluster, "edge", "ca").ca]
    assert len(set(names)) == 2, names
    named = [{**each, "issue": {**each["issue"], "common_name": "Ours"}} if each["name"] == "ca" else each for each in together("add")]
    cluster = Cluster()
    run(cluster, named)
    run(cluster, named)
    trusts(cluster)  # the same name twice: the key identifiers tell


def test_leaves_that_carry_the_ca_take_both_along() -> None:
    cluster = Cluster()
    carrying = {**SERVER, "include_ca": True}
    run(cluster, [CA, carrying])
    predicted = run(cluster, [rolling("add"), carrying], now=LATER, check=True)
    assert actions(predicted) == actions(run(cluster, [rolling("add"), carrying], now=LATER)) == ["changed", "changed"]
    assert len(secret(cluster, "mesh", "shop").ca) == 2
    assert actions(run(cluster, [CA, carrying], now=LATER)) == ["unchanged", "unchanged"]


def test_a_lost_ca_is_found_out_by_what_it_left_anywhere() -> None:
    cluster = Cluster()
    run(cluster, ALL)
    del cluster.secrets[("edge", "ca")]
    for check in (False, True):
        error = refusal(cluster, [CA], check=check)  # none of its leaves is in this task
        assert error.code == "CA_LOST"
        assert set(error.details["secrets"]) == {"mesh/shop", "edge/client", "mesh/shop-cacert", "mesh/nic-ca"}
        for way_out in ("backup", "delete these", "another name"):
            assert way_out in error.fix
    assert actions(run(cluster, [{**CA, "name": "other"}])) == ["created"]
    for place in list(cluster.secrets):
        if place != ("edge", "other"):
            del cluster.secrets[place]
    assert actions(run(cluster, [CA])) == ["created"]


def test_a_lost_ca_where_only_this_tasks_namespaces_may_be_listed() -> None:
    cluster = Cluster()
    run(cluster, ALL)
    del cluster.secrets[("edge", "ca")]
    cluster.unlistable = {("Secret", None), ("ConfigMap", None)}
    assert refusal(cluster, [CA, {**SERVER, "name": "new"}]).code == "CA_LOST"


def test_a_ca_of_somebody_else_is_not_rolled_over() -> None:
    cluster = Cluster()
    run(cluster, [CA])
    cluster.secrets[("edge", "ca")]["metadata"]["labels"] = {}
    assert refusal(cluster, [{**rolling("add"), "keep_foreign": True}]).code == "NOT_OURS"


def test_an_immutable_ca_is_never_deleted_to_be_made_anew() -> None:
    cluster = Cluster()
    run(cluster, [CA])
    cluster.secrets[("edge", "ca")]["immutable"] = True
    assert refusal(cluster, [rolling("add")]).code == "CA_IMMUTABLE"
    assert actions(run(cluster, [CA])) == ["unchanged"]


def test_half_of_a_second_ca_is_an_error() -> None:
    cluster = Cluster()
    run(cluster, [CA])
    run(cluster, [rolling("add")])
    data = cluster.secrets[("edge", "ca")]["data"]
    good = data.pop("next.key")
    assert refusal(cluster, [CA]).code == "SECRET_KEY_MISSING"
    data["next.key"] = base64.b64encode(leaf(root()).key_pem().encode()).decode()
    assert refusal(cluster, [CA]).code == "CA_DOES_NOT_FIT"
    data["next.key"] = good
    assert actions(run(cluster, [CA])) == ["unchanged"]


def test_the_order_of_steps_is_the_documented_one() -> None:
    assert authority.STAGES == ("add", "switch", "finish", "cancel")
