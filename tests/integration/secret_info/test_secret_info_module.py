# SPDX-License-Identifier: GPL-3.0-or-later
"""tls_secret_info as Ansible runs it."""

from __future__ import annotations

import base64
import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from plugins.module_utils._kube.client import Client
from tests.integration.kube.kube_rig import config_map, play, secret
from tests.integration.secret_info.material import authority, deliver, server, tls, wanted
from tests.integration.secret_info.own_api import OwnApi
from tests.integration.tls_secret.leaks import pieces
from tests.unit.x509.pki import Pair

pytestmark = pytest.mark.lab
MODULE = "edgemesh.nginx_istio.tls_secret_info"


def task(api: OwnApi, **options: Any) -> dict[str, Any]:
    return {"name": "look", MODULE: {"kubeconfig": str(api.kubeconfig), "timeout": 30, **options}}


def test_every_shape_by_name_by_label_and_by_namespace(api: OwnApi, client: Client, namespace: str, tmp_path: Path) -> None:
    client.create(tls(namespace, "web", server(), labels={"app": "shop"}))
    client.create(tls(namespace, "new", labels={"app": "shop"}))
    client.create(secret("password", namespace, stringData={"password": "x"}))
    client.create(config_map("trust", namespace, {"ca.crt": authority().pem}))
    deliver(client, wanted(namespace))
    mutual = [{"use": "server", "names": ["shop.example.com"], "reader": "envoy"}, {"use": "ca", "reader": "envoy"}]
    verified = {"namespace": namespace, "name": "web", "ca": {"kind": "ConfigMap", "name": "trust"}}
    absent = {"namespace": namespace, "name": "no"}
    everything = [{"namespace": namespace}, {"namespace": namespace, "kind": "ConfigMap"}]
    results, printed = play(
        tmp_path,
        task(api, secrets=[{"namespace": namespace, "name": "edge-shop", "uses": mutual}, verified, absent]),
        task(api, select=[{"namespace": namespace, "labels": "app=shop"}], uses=[{"use": "server", "names": ["www.example.com"]}]),
        task(api, select=everything, wait=True, until="present", timeout=1),
        arguments=("-vvvv",),
    )
    named, labelled, waited = results
    assert [each["changed"] for each in results] == [False] * 3
    assert [(each["found"], each["fit"]) for each in named["results"]] == [(True, True), (True, True), (False, False)]
    assert named["results"][0]["ca_from"] == f"Secret {namespace}/edge-shop-cacert"
    assert [(each["name"], [one["code"] for one in each["findings"]]) for each in labelled["results"]] == [
        ("new", ["ENTRY_MISSING", "ENTRY_MISSING"]),
        ("web", ["NAME_MISMATCH"]),
    ]
    # The namespace's: what holds no certificates is left out; one is not complete, and that is what the time-out says.
    assert waited["failed"]
    assert waited["error"]["missing"] == [{"object": f"Secret {namespace}/new", "why": "entries tls.crt, tls.key missing or empty"}]
    assert f"Secret {namespace}/new" in waited["msg"]
    assert [each["name"] for each in waited["error"]["results"]] == ["edge-ca", "edge-shop", "edge-shop-cacert", "new", "web", "trust"]
    stored = [base64.b64decode(each["data"].get("tls.key", "")).decode() for each in client.list("Secret", namespace)[0]]
    assert pieces([key for key in stored if key], printed + json.dumps(results)) == []


def test_a_renewal_is_waited_for_from_its_fingerprint(api: OwnApi, client: Client, namespace: str, tmp_path: Path) -> None:
    made = client.create(tls(namespace, "web", server()))
    (first,), _printed = play(tmp_path, task(api, secrets=[{"namespace": namespace, "name": "web"}]))
    old = first["results"][0]["fingerprint"]
    asked = [{"namespace": namespace, "name": "web", "fingerprint": old}]
    (checked, plain), _printed = play(
        tmp_path, task(api, secrets=asked, wait=True, until="changed") | {"check_mode": True}, task(api, secrets=asked)
    )
    assert [checked["results"][0]["fingerprint"], plain["results"][0]["fingerprint"]] == [old, old]

    def renew() -> None:
        time.sleep(4)
        # What is half done ends no wait.
        half = client.replace({**tls(namespace, "web", Pair(server().cert, server().key)), "metadata": made["metadata"]})
        time.sleep(1)
        client.replace({**tls(namespace, "web", server()), "metadata": half["metadata"]})

    thread = threading.Thread(target=renew)
    thread.start()
    (renewed,), _printed = play(tmp_path, task(api, secrets=asked, wait=True, until="changed"))
    thread.join()
    assert not renewed.get("failed"), renewed
    assert renewed["results"][0]["fingerprint"] != old
    assert renewed["results"][0]["key"]["matches"]


def test_what_can_not_be_right_and_what_may_not_be_read_is_a_failure(api: OwnApi, namespace: str, tmp_path: Path) -> None:
    nobody = str(api.kubeconfig_of("nobody-in-particular"))
    (wrong, forbidden), _printed = play(
        tmp_path,
        task(api, secrets=[{"namespace": namespace, "name": "Not_A_Name"}]),
        task(api, kubeconfig=nobody, secrets=[{"namespace": namespace, "name": "web"}], wait=True),
    )
    assert "secrets[0]" in wrong["msg"]
    assert forbidden["error"]["code"] == "FORBIDDEN"
    assert "verbs: [get, list, watch]" in forbidden["error"]["role"]
