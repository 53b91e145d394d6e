# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets that routes of several lists and runs need: nobody loses a name, and a Secret goes with its last user."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plugins.module_utils._errors import EdgeError
from plugins.module_utils._lists import OTHER_LIST, Owner, Run
from plugins.module_utils._secrets import unneeded
from plugins.module_utils._secrets import users as needing
from plugins.module_utils._secrets.entries import Entry, Reference, entries
from plugins.module_utils._secrets.tls_secret import Delivery, Plan
from plugins.module_utils._x509 import facts
from plugins.module_utils._x509.material import from_secret
from tests.unit.x509.cluster import Cluster
from tests.unit.x509.pki import DAY, NOW

CA_REF = {"namespace": "edge", "name": "ca"}
CA = {**CA_REF, "issue": {"usage": "ca"}, "labels": {"app.kubernetes.io/component": "private-ca"}}
MADE_HERE = {"app.kubernetes.io/component": "private-ca"}


def client(users: dict[str, list[str]], name: str = "client", **issue: Any) -> dict[str, Any]:
    """A client certificate."""
    return {"namespace": "edge", "name": name, "labels": MADE_HERE, "issue": {"usage": "client", "ca": CA_REF, **issue}, "users": users}


def copied(users: list[str], name: str = "shop-cacert", source: dict[str, str] = CA_REF) -> dict[str, Any]:
    made = {"namespace": "mesh", "name": name, "for": "gateway_ca", "from": {"secret": source}, "users": {each: [] for each in users}}
    return {**made, "labels": {"app.kubernetes.io/component": "gateway-routes"}}


def run(cluster: Cluster, said: Run, *wanted: dict[str, Any], check: bool = False, now: Any = NOW) -> list[Plan]:
    """What role private_ca does first."""
    return Delivery(cluster, entries([CA, *wanted]), run=said, check_mode=check, now=now).present()


def of(list_name: str, *present: str, absent: tuple[str, ...] = (), exclusive: bool = False) -> Run:
    return Run(list_name, frozenset(present), frozenset(absent), exclusive)


def prune(
    cluster: Cluster,
    said: Run,
    *needed: str,
    check: bool = False,
    authorities: bool = False,
    namespaces: tuple[str, ...] = ("edge", "mesh"),
) -> list[str]:
    """What it does last; the names of the Secrets that go."""
    cas = [Reference(**CA_REF)] if authorities else []
    kept = {Reference(*each.split("/")) for each in needed} | {Reference(**CA_REF)}
    warnings: list[str] = []
    found = unneeded.find(cluster, namespaces, said, kept, warnings)
    listed = [*(Entry(each, "tls") for each in found), *(Entry(each, "ca", keep_foreign=True) for each in cas)]
    plans = Delivery(cluster, listed, run=said, check_mode=check, now=NOW).unneeded(cas)
    for each in plans:
        assert "PRIVATE KEY" not in json.dumps([each.result(check), each.difference()])
    return [each.entry.ref.name for each in plans if each.action == "deleted"]


def names(cluster: Cluster, name: str = "client") -> list[str]:
    return sorted(facts.dns_names(from_secret(cluster.secrets[("edge", name)]).leaf))


def users(cluster: Cluster, namespace: str = "edge", name: str = "client") -> dict[str, Any]:
    found: dict[str, Any] = json.loads(cluster.secrets[(namespace, name)]["metadata"]["annotations"][needing.NEEDED_BY])
    return found


def labels(cluster: Cluster, name: str = "client") -> dict[str, str]:
    found: dict[str, str] = cluster.secrets[("edge", name)]["metadata"]["labels"]
    return {key.rpartition("/")[2]: value for key, value in found.items() if "edgemesh.nginx-istio" in key}


def refused(cluster: Cluster, said: Run, *wanted: dict[str, Any], check: bool = False) -> EdgeError:
    before = copy.deepcopy(cluster.secrets)
    with pytest.raises(EdgeError) as refusal:
        run(cluster, said, *wanted, check=check)
    assert cluster.secrets == before
    return refusal.value


def shared() -> Cluster:
    cluster = Cluster()
    run(cluster, of("default", "shop", "pay"), client({"shop": ["s.example"], "pay": ["p.example"]}))
    return cluster


def test_a_run_that_lists_one_route_of_several_changes_nothing_for_the_others() -> None:
    cluster = shared()
    before = copy.deepcopy(cluster.secrets)
    for route, name in (("shop", "s.example"), ("pay", "p.example")):
        assert not any(each.changes for each in run(cluster, of("default", route), client({route: [name]})))
    assert cluster.secrets == before
    assert names(cluster) == ["p.example", "s.example"]
    assert labels(cluster) == {"list": "default"}, "it is no single route's"


def test_a_new_user_gets_its_names_and_leaves_those_of_the_others() -> None:
    cluster = shared()
    (plan,) = [each for each in run(cluster, of("default", "blog"), client({"blog": ["b.example"]})) if each.changes]
    assert "names: DNS:p.example, DNS:s.example instead of DNS:b.example, DNS:p.example, DNS:s.example" in plan.why
    assert names(cluster) == ["b.example", "p.example", "s.example"]


def test_a_name_that_only_a_gone_user_needed_goes_with_the_next_issue() -> None:
    cluster = shared()
    before = cluster.secrets[("edge", "client")]["data"]
    gone = of("default", "shop", absent=("pay",))
    run(cluster, gone, client({"shop": ["s.example"]}))
    assert cluster.secrets[("edge", "client")]["data"] == before, "nobody is interrupted for it"
    assert (users(cluster), labels(cluster)) == ({"default/shop": ["s.example"]}, {"list": "default", "route": "shop"})
    assert prune(cluster, gone, "edge/client") == []
    run(cluster, of("default", "shop"), client({"shop": ["s.example"]}), now=NOW + 80 * DAY)
    assert names(cluster) == ["s.example"]


def test_without_users_names_are_exactly_those_of_the_entry() -> None:
    cluster = Cluster()
    for wanted in (["a.example", "b.example"], ["a.example"]):
        run(cluster, Run(), {"namespace": "edge", "name": "client", "issue": {"usage": "client", "ca": CA_REF, "names": wanted}})
        assert names(cluster) == wanted


def test_a_secret_goes_with_its_last_user() -> None:
    cluster = shared()
    run(cluster, of("default", "shop"), copied(["shop"]), client({"shop": ["own.example"]}, "own"))
    first, last = of("default", absent=("shop",)), of("default", absent=("pay",))
    assert prune(cluster, first, check=True) == ["own", "shop-cacert"]
    assert ("edge", "own") in cluster.secrets
    assert prune(cluster, first) == ["own", "shop-cacert"]
    assert users(cluster) == {"default/pay": ["p.example"]}
    assert prune(cluster, first) == []
    assert prune(cluster, last) == ["client"]
    assert set(cluster.secrets) == {("edge", "ca")}, "the CA belongs to no list"


def test_a_listed_route_that_needs_a_secret_no_longer_gives_it_back() -> None:
    cluster = shared()
    run(cluster, of("default", "shop"), client({"shop": ["s.example"]}, "another"))
    assert prune(cluster, of("default", "shop"), "edge/another") == []
    assert users(cluster) == {"default/pay": ["p.example"]}
    assert not any(each.changes for each in run(cluster, of("default", "pay"), client({"pay": ["p.example"]})))


def test_exclusive_takes_the_lists_other_users_and_a_teardown_all_of_them() -> None:
    cluster = shared()
    run(cluster, of("team-b", "store"), client({"store": ["t.example"]}, "store"))
    only = of("default", "shop", exclusive=True)
    run(cluster, only, client({"shop": ["s.example"]}))
    assert users(cluster) == {"default/shop": ["s.example"]}
    assert prune(cluster, only, "edge/client") == []
    assert prune(cluster, Run.teardown("default")) == ["client"]
    assert prune(cluster, Run.teardown("default")) == []
    assert ("edge", "store") in cluster.secrets


def test_what_the_run_still_requires_stays_though_it_no_longer_issues_it() -> None:
    cluster = shared()
    assert prune(cluster, of("default", "shop", "pay"), "edge/client") == []
    assert users(cluster) == {"default/pay": ["p.example"], "default/shop": ["s.example"]}


@pytest.mark.parametrize("check", [False, True])
def test_another_lists_key_pair_is_refused(check: bool) -> None:
    cluster = shared()
    run(cluster, of("default", "shop"), copied(["shop"]))
    for wanted in (client({"store": ["t.example"]}), copied(["store"])):
        error = refused(cluster, of("team-b", "store"), wanted, check=check)
        assert error.code == OTHER_LIST
        assert "of list default" in error.sentence
        assert "edge_issue" in error.sentence
    required = {"namespace": "edge", "name": "client", "expect": {"usage": "client"}}
    assert [each.action for each in run(cluster, of("team-b", "store"), required)] == ["unchanged", "unchanged"]


@pytest.mark.parametrize(
    ("wanted", "why"),
    [
        (client({"blog": ["b"]}, usage="server"), "extended key usage is clientAuth, but serverAuth"),
        (client({"blog": ["b"]}, ca={"namespace": "edge", "name": "second"}), "issuer is edge/ca, but edge/second"),
        ({**copied(["blog"]), "namespace": "edge", "name": "client"}, "type is kubernetes.io/tls, but Opaque"),
    ],
)
def test_a_secret_that_others_need_does_not_become_another(wanted: dict[str, Any], why: str) -> None:
    cluster = shared()
    run(cluster, Run(), {"namespace": "edge", "name": "second", "issue": {"usage": "ca"}})
    error = refused(cluster, of("default", "blog"), wanted)
    assert error.code == "USED_OTHERWISE"
    assert "route pay of list default, route shop of list default" in error.sentence
    assert why in error.sentence


def test_its_only_user_may_make_another_of_it() -> None:
    cluster = Cluster()
    run(cluster, of("default", "shop"), client({"shop": ["s.example"]}))
    run(cluster, of("default", "shop"), client({"shop": ["s.example"]}, usage="server"))
    assert facts.facts(from_secret(cluster.secrets[("edge", "client")]).leaf)["extended_key_usage"] == ["serverAuth"]


# -- of the version before ------------------------------------------------------------------------------------------------


def of_before(route: str = "") -> Cluster:
    """A certificate with two names, which nothing says the users of."""
    cluster = shared()
    metadata = cluster.secrets[("edge", "client")]["metadata"]
    del metadata["annotations"][needing.NEEDED_BY], metadata["labels"]["edgemesh.nginx-istio/list"]
    if route:
        metadata["labels"]["edgemesh.nginx-istio/route"] = route
    return cluster


def test_it_is_taken_over_without_being_issued_anew() -> None:
    cluster = of_before()
    before = cluster.secrets[("edge", "client")]["data"]
    run(cluster, of("default", "shop"), client({"shop": ["s.example"]}))
    assert cluster.secrets[("edge", "client")]["data"] == before
    assert users(cluster) == {"default/*": ["p.example", "s.example"], "default/shop": ["s.example"]}
    run(cluster, of("default", "blog", absent=("shop", "pay")), client({"blog": ["b.example"]}))
    assert names(cluster) == ["b.example", "p.example", "s.example"], "nobody knows who needs them"
    run(cluster, of("default", "blog", exclusive=True), client({"blog": ["b.example"]}))
    assert users(cluster) == {"default/blog": ["b.example"]}


def test_one_with_a_routes_label_is_that_routes() -> None:
    cluster = of_before("shop")
    run(cluster, of("default", "shop"), client({"shop": ["s.example"]}))
    assert users(cluster) == {"default/shop": ["s.example"]}


def test_another_list_does_not_take_it() -> None:
    cluster = of_before()
    assert refused(cluster, of("team-b", "store"), client({"store": ["t.example"]})).code == OTHER_LIST
    assert prune(cluster, Run.teardown("team-b")) == []
    assert prune(cluster, of("default", "shop", absent=("pay",))) == []
    assert prune(cluster, Run.teardown("default")) == ["client"]


@pytest.mark.parametrize("text", ["", "[]", "{", '{"a": 1}', "null"])
def test_a_damaged_annotation_loses_no_name(text: str) -> None:
    cluster = shared()
    cluster.secrets[("edge", "client")]["metadata"]["annotations"][needing.NEEDED_BY] = text
    run(cluster, of("default", "shop"), client({"shop": ["s.example"]}))
    assert names(cluster) == ["p.example", "s.example"]


# -- the CA ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("check", [False, True])
def test_a_ca_stays_while_another_list_uses_it(check: bool) -> None:
    cluster = shared()
    run(cluster, of("team-b", "store"), client({"store": ["t.example"]}, "store"), copied(["store"], "store-cacert"))
    before = copy.deepcopy(cluster.secrets)
    with pytest.raises(EdgeError, match=r"Secret edge/store \(route store of list team-b\)") as refusal:
        prune(cluster, Run.teardown("default"), check=check, authorities=True)
    assert (refusal.value.code, cluster.secrets) == ("CA_IN_USE", before), "nothing of default's went either"
    assert refusal.value.details["secrets"] == ["Secret edge/store", "Secret mesh/store-cacert"]
    assert prune(cluster, Run.teardown("team-b")) == ["store", "store-cacert"]
    assert prune(cluster, Run.teardown("default"), authorities=True, check=check) == ["client", "ca"]
    assert bool(cluster.secrets) == check


def test_a_certificate_of_the_ca_that_says_no_issuer_holds_it_too() -> None:
    """As cert-manager's do."""
    cluster = shared()
    run(cluster, of("team-b", "store"), client({"store": ["t.example"]}, "store"))
    del cluster.secrets[("edge", "store")]["metadata"]["annotations"]["edgemesh.nginx-istio/issuer"]
    with pytest.raises(EdgeError, match="route store of list team-b"):
        prune(cluster, Run.teardown("default"), authorities=True)


def test_a_namespace_is_empty_when_nobody_has_anything_in_it() -> None:
    cluster = shared()
    ours = {Reference("edge", "ca"), Reference("edge", "client")}
    assert unneeded.emptied(cluster, "edge", ours)
    assert not unneeded.emptied(cluster, "edge", ours - {Reference("edge", "client")})
    cluster.put({"kind": "ConfigMap", "metadata": {"namespace": "edge", "name": "kube-root-ca.crt"}})
    assert unneeded.emptied(cluster, "edge", ours)
    cluster.put({"kind": "ConfigMap", "metadata": {"namespace": "edge", "name": "somebody's"}})
    assert not unneeded.emptied(cluster, "edge", ours)


def test_a_namespace_that_may_not_be_searched_counts_as_used() -> None:
    cluster = Cluster()
    assert unneeded.emptied(cluster, "edge", [])
    cluster.unlistable.add(("Pod", "edge"))
    assert not unneeded.emptied(cluster, "edge", [])


def test_where_secrets_may_not_be_listed_they_are_not_looked_for() -> None:
    cluster = shared()
    cluster.unlistable.add(("Secret", "mesh"))
    warnings: list[str] = []
    found = unneeded.find(cluster, ("edge", "mesh"), Run.teardown("default"), (), warnings)
    assert [each.name for each in found] == ["client"]
    assert warnings == ["Secrets that no route needs were not looked for in namespace mesh: list is forbidden."]


# -- races ----------------------------------------------------------------------------------------------------------------


def test_a_run_at_the_same_time_loses_no_user() -> None:
    cluster = shared()
    cluster.before["replace"] = lambda: run(cluster, of("default", "blog"), client({"blog": ["b.example"]})) and None
    run(cluster, of("default", "cart"), client({"cart": ["c.example"]}))
    assert set(users(cluster)) == {"default/shop", "default/pay", "default/blog", "default/cart"}
    assert names(cluster) == ["b.example", "c.example", "p.example", "s.example"]


def test_a_secret_that_is_needed_again_meanwhile_stays() -> None:
    cluster = shared()
    cluster.before["delete"] = lambda: run(cluster, of("default", "blog"), client({"blog": ["b.example"]})) and None
    assert prune(cluster, of("default", absent=("shop", "pay"))) == []
    assert users(cluster) == {"default/blog": ["b.example"]}


def test_a_secret_that_another_list_makes_meanwhile_is_not_taken() -> None:
    cluster = Cluster()
    run(cluster, Run())
    cluster.before["create"] = lambda: run(cluster, of("team-b", "store"), client({"store": ["t.example"]})) and None
    with pytest.raises(EdgeError) as refusal:
        run(cluster, of("default", "shop"), client({"shop": ["s.example"]}))
    assert refusal.value.code == OTHER_LIST
    assert users(cluster) == {"team-b/store": ["t.example"]}


# -- any order ------------------------------------------------------------------------------------------------------------

ROUTES = st.sampled_from(["shop", "pay", "blog"])
NAMES = st.lists(st.sampled_from(["a.example", "b.example", "c.example"]), min_size=1, max_size=2, unique=True)
RUNS = st.lists(
    st.tuples(
        st.sampled_from(["default", "team-b"]), st.dictionaries(ROUTES, NAMES, max_size=2), st.sets(ROUTES, max_size=1), st.booleans()
    ),
    max_size=8,
)


@settings(deadline=None, max_examples=60)
@given(RUNS)
def test_in_any_order_everybody_has_its_names_and_nobody_is_interrupted_without_need(
    runs: list[tuple[str, dict[str, list[str]], set[str], bool]],
) -> None:
    cluster = Cluster()
    run(cluster, Run())
    needed: dict[str, dict[Owner, list[str]]] = {"default": {}, "team-b": {}}
    for list_name, wanted, absent, exclusive in runs:
        secret, other = ("edge", list_name), ("edge", {"default": "team-b", "team-b": "default"}[list_name])
        said = Run(list_name, frozenset(wanted), frozenset(absent - wanted.keys()), exclusive)
        mine = {owner: value for owner, value in needed[list_name].items() if not said.takes(owner)}
        mine |= {Owner(list_name, route): value for route, value in wanted.items()}
        needed[list_name] = mine
        theirs, before = copy.deepcopy(cluster.secrets.get(other)), cluster.secrets.get(secret)
        covered = before and set(names(cluster, list_name)) >= {name for value in mine.values() for name in value}
        run(cluster, said, *([client(wanted, list_name)] if wanted else []))
        prune(cluster, said, *([f"edge/{list_name}"] if wanted else []))
        assert cluster.secrets.get(other) == theirs
        assert (secret in cluster.secrets) == bool(mine)
        if mine:
            assert {Owner.of_key(key): value for key, value in users(cluster, name=list_name).items()} == mine
            assert set(names(cluster, list_name)) >= {name for value in mine.values() for name in value}
            if covered and before:
                assert cluster.secrets[secret]["data"] == before["data"]
        version = cluster.version
        run(cluster, said, *([client(wanted, list_name)] if wanted else []))
        prune(cluster, said, *([f"edge/{list_name}"] if wanted else []))
        assert cluster.version == version, "a second run changes nothing"


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        ({**CA, "users": {"shop": []}}, "users belong to what is issued or copied here"),
        ({"namespace": "edge", "name": "x", "users": {"shop": []}}, "users belong to what is issued or copied here"),
        (client({"shop": ["a"]}, names=["b"]), "issue.names and users are both given"),
        (client({"shop": []}), "a leaf needs issue.ca and at least one name"),
        (client({}), "users is no dictionary of routes"),
        (client({"shop": "a"}), "users is no dictionary of routes"),  # type: ignore[dict-item]
        (client({"team-b/shop": ["a"]}), "users names something that is no route"),
        (client({"*": ["a"]}), "users names something that is no route"),
        (client({"shop": ["not a name"]}), "is no DNS name"),
    ],
)
def test_users_that_can_not_be(entry: dict[str, Any], sentence: str) -> None:
    with pytest.raises(EdgeError) as refusal:
        entries([entry])
    assert (refusal.value.code, sentence in refusal.value.sentence) == ("ENTRY_INVALID", True), refusal.value.sentence
