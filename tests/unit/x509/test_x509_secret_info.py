# SPDX-License-Identifier: GPL-3.0-or-later
"""The task of tls_secret_info against a small API server: what it asks for, what it waits for, what it says in the end."""

from __future__ import annotations

import base64
import threading
import time
from typing import Any

import pytest

from plugins.module_utils._errors import EdgeError
from plugins.module_utils._kube.errors import ApiError
from plugins.module_utils._secrets.tls_secret_info import Info
from tests.unit.kube.kube_api import events, lists, refuses, says, serving
from tests.unit.x509.pki import DAY, NOW, Pair, leaf, root

ROOT = root()
WEB = leaf(ROOT, "shop.example.com")
GONE = says({"kind": "Status", "reason": "NotFound", "details": {"name": "x", "kind": "secrets"}}, 404)
FORBIDDEN = 'secrets is forbidden: User "bob" cannot {} resource "secrets" in API group "" in the namespace "{}"'


def tls(pair: Pair | None = WEB, name: str = "web", version: str = "11", namespace: str = "n") -> dict[str, Any]:
    pem = {"tls.crt": pair.pem, "tls.key": pair.key_pem()} if pair else {"tls.crt": "", "tls.key": ""}
    data = {entry: base64.b64encode(text.encode()).decode() for entry, text in pem.items()}
    metadata = {"namespace": namespace, "name": name, "resourceVersion": version}
    return {"kind": "Secret", "metadata": metadata, "type": "kubernetes.io/tls", "data": data}


def task(*secrets: Any, check: bool = False, **params: Any) -> Info:
    defaults: dict[str, Any] = {"select": [], "uses": None, "soon": 7, "wait": False, "until": "fit"}
    return Info({**defaults, "secrets": list(secrets), **params}, check=check)


def named(name: str = "web", namespace: str = "n", **more: Any) -> dict[str, Any]:
    return {"namespace": namespace, "name": name, "kind": "Secret", **more}


def test_names_are_read_with_get_alone_and_each_once() -> None:
    with serving(says(tls())) as api:
        results = task(named(), named(uses=[{"use": "client"}])).look(api.client())
        assert [each["fit"] for each in results] == [True, False]
        assert [request.path for request in api.requests] == ["/api/v1/namespaces/n/secrets/web"]


def test_what_is_not_there_is_a_result() -> None:
    with serving(GONE) as api:
        (result,) = task(named()).look(api.client())
        assert (result["found"], result["fit"], result["certificate"]) == (False, False, None)


def test_every_role_that_is_lacking_is_offered_at_once() -> None:
    refusals = [refuses(403, "Forbidden", FORBIDDEN.format("get", namespace)) for namespace in "nm"]
    with serving(*refusals) as api:
        started = time.monotonic()
        with pytest.raises(ApiError) as caught:
            task(named(), named(namespace="m")).look(api.client(30))
        assert time.monotonic() - started < 1
        role = caught.value.as_result()["role"]
        assert [f'namespace: "{name}"' in role for name in "nm"] == [True, True]
        assert role.count("kind: RoleBinding") == 2


def test_a_selection_is_one_list_of_what_holds_certificates() -> None:
    other = {"metadata": {"namespace": "n", "name": "a"}, "type": "Opaque", "data": {"password": "eA=="}}
    with serving(lists(tls(name="b"), other, tls(name="a", pair=None))) as api:
        results = task(select=[{"namespace": "n", "labels": "app=web"}]).look(api.client())
        assert [(each["name"], each["fit"]) for each in results] == [("a", False), ("b", True)]
        assert len(api.requests) == 1
        assert api.requests[0].query["labelSelector"] == "app=web"
        assert "type!=helm.sh/release.v1" in api.requests[0].query["fieldSelector"]


def test_everywhere_two_of_the_same_name_are_two() -> None:
    with serving(lists(tls(), tls(namespace="m"))) as api:
        for wait in (False, True):
            results = task(select=[{}], wait=wait).look(api.client())
            assert [(each["namespace"], each["name"]) for each in results] == [("m", "web"), ("n", "web")]


def test_the_credential_and_its_separate_ca_are_read_together() -> None:
    both = [{"use": "server"}, {"use": "ca", "reader": "envoy"}]
    cacert = {"metadata": {"namespace": "n", "name": "web-cacert"}, "data": {"cacert": base64.b64encode(ROOT.pem.encode()).decode()}}
    with serving(says(tls()), says(cacert)) as api:
        (result,) = task(named(uses=both)).look(api.client())
        assert (result["fit"], result["ca_from"]) == (True, "Secret n/web-cacert")
        assert api.requests[1].path.endswith("/web-cacert")


def test_it_waits_for_content() -> None:
    steps = [("ADDED", tls(None)), ("MODIFIED", tls(leaf(ROOT, "old.example.com"), version="12")), ("MODIFIED", tls(version="13"))]
    for until, version in (("present", "12"), ("fit", "13"), ("changed", "13")):
        with serving(lists(), events(*steps, hold=20)) as api:
            started = time.monotonic()
            uses = [{"use": "server", "names": ["shop.example.com"]}] if until != "present" else None
            # Each event is judged by itself only if it comes by itself.
            (result,) = task(named(fingerprint="00", uses=uses), wait=True, until=until).look(api.client(30))
            assert int(result["resource_version"]) >= int(version)
            assert time.monotonic() - started < 5
            assert len(api.requests) == 2


def test_time_alone_may_make_it_fit() -> None:
    """The issuer's clock is a little ahead; nothing happens in the watch."""
    soon = leaf(ROOT, not_before=NOW + (time.time() - NOW.timestamp() + 2) * (DAY / 86400))
    with serving(lists(tls(soon)), events(hold=30)) as api:
        started = time.monotonic()
        assert task(named(), wait=True).look(api.client(20))[0]["fit"]
        assert time.monotonic() - started < 6
        assert len(api.requests) == 2


def test_at_the_deadline_it_says_of_each_what_was_missing() -> None:
    with serving(lists(tls(None), tls(name="good")), watches=[events(hold=60)]) as api:
        started = time.monotonic()
        with pytest.raises(EdgeError) as caught:
            task(named(), named("good"), named("never"), wait=True).look(api.client(1))
        assert time.monotonic() - started < 3
        error = caught.value.as_result()
        assert error["code"] == "TIMEOUT"
        assert error["missing"] == [
            {"object": "Secret n/web", "why": "entries tls.crt, tls.key missing or empty"},
            {"object": "Secret n/never", "why": "it does not exist"},
        ]
        assert [each["fit"] for each in error["results"]] == [False, True, False]
        assert WEB.key_pem().splitlines()[1] not in str(error)
    with (
        serving(lists(), events(hold=60)) as api,
        pytest.raises(EdgeError, match="Secrets in namespace n with a=b: timed out after 1 s of waiting until present: there is none"),
    ):
        task(select=[{"namespace": "n", "labels": "a=b"}], wait=True, until="present").look(api.client(1))


def test_trouble_with_the_api_is_said_beside_what_was_missing() -> None:
    with serving(lists(), watches=[refuses(503, "ServiceUnavailable", "no")]) as api, pytest.raises(EdgeError) as caught:
        task(named(), wait=True).look(api.client(1))
    assert "it does not exist" in caught.value.why
    assert "503" in caught.value.why


def test_in_check_mode_it_looks_once() -> None:
    with serving(GONE) as api:
        assert not task(named(), wait=True, check=True).look(api.client(30))[0]["found"]
        assert len(api.requests) == 1


def test_a_few_names_are_watched_one_by_one_and_many_together() -> None:
    for count, watches in ((8, 8), (9, 1)):
        objects = [tls(name=f"web{number}") for number in range(count)]
        with serving(lists(*objects), watches=[events(hold=5)]) as api:
            results = task(*(named(each["metadata"]["name"]) for each in objects), wait=True).look(api.client(10))
            assert [each["fit"] for each in results] == [True] * count
            assert sum(not request.watch for request in api.requests) == watches


def test_a_thousand_that_come_one_by_one_are_judged_in_time() -> None:
    objects = [tls(name=f"web{number}", version=str(number)) for number in range(1000)]
    with serving(lists(objects[0]), events(*(("ADDED", each) for each in objects), hold=20)) as api:
        client = api.client(60)
        info = task(*(named(each["metadata"]["name"]) for each in objects), wait=True)
        started = time.monotonic()
        assert all(each["fit"] for each in info.look(client))
        assert time.monotonic() - started < 30


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({}, "nothing is requested"),
        ({"secrets": [named("A_b")]}, r"secrets\[0\]"),
        ({"secrets": [named(namespace="")]}, r"secrets\[0\]"),
        ({"secrets": [named(ca={"name": "../x"})]}, r"secrets\[0\]"),
        ({"secrets": [named(uses=[{"use": "ca", "names": ["x"]}])]}, r"secrets\[0\].uses\[0\].names"),
        ({"select": [{"namespace": "a/b"}]}, r"select\[0\].namespace"),
        ({"secrets": [named()], "wait": True, "until": "changed"}, "fingerprint"),
        ({"select": [{}], "wait": True, "until": "changed"}, "needs names"),
    ],
)
def test_what_can_not_be_right_is_refused(params: dict[str, Any], words: str) -> None:
    secrets = params.pop("secrets", [])
    with pytest.raises(EdgeError, match=words):
        task(*secrets, **params)


def test_a_wait_does_not_keep_the_process() -> None:
    """Its watches are daemons: what they still wait for is nobody's business any more."""
    with serving(lists(tls()), events(hold=60)) as api:
        task(named(), wait=True).look(api.client(60))
        assert all(each.daemon for each in threading.enumerate() if each is not threading.main_thread())
