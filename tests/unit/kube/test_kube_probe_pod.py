# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from plugins.module_utils._errors import EdgeError
from plugins.module_utils._kube import probe_pod

NOW = datetime(2026, 12, 1, 12, 0, 0, tzinfo=timezone.utc)


def test_the_connection_gets_paths_and_names_and_ignores_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = probe_pod.connection({"kubeconfig": "a:/etc/b", "context": "prod", "ca_cert": "ca.crt", "validate_certs": False})
    assert found["ansible_kubectl_local_env_vars"] == {"KUBECONFIG": f"{tmp_path}/a:/etc/b"}
    assert found["ansible_kubectl_context"] == "prod"
    assert found["ansible_kubectl_ca_cert"] == f"{tmp_path}/ca.crt"
    assert found["ansible_kubectl_validate_certs"] is False
    # an empty variable wins over K8S_AUTH_TOKEN and its like
    silent = ("kubeconfig", "username", "password", "token", "extra_args", "host", "client_cert", "client_key")
    assert {found[f"ansible_kubectl_{name}"] for name in silent} == {""}


def test_without_options_kubectl_finds_its_own_way() -> None:
    assert probe_pod.connection({})["ansible_kubectl_local_env_vars"] == {}


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"kubeconfig": {"users": [{"user": {"token": "t0p"}}]}}, "the kubeconfig is no file"),
        ({"kubeconfig": "apiVersion: v1\nusers: [{user: {token: t0p}}]"}, "the kubeconfig is no file"),
        ({"host": "https://192.0.2.1", "api_key": "t0p"}, "kubectl would show api_key on its command line"),
        ({"host": "https://192.0.2.1", "username": "a", "password": "t0p"}, "kubectl would show password, username"),
        ({"kubeconfig": "/etc/b", "impersonate_user": "t0p"}, "kubectl would show impersonate_user"),
    ],
)
def test_credentials_that_kubectl_would_show_are_not_given_to_it(options: dict[str, Any], why: str) -> None:
    with pytest.raises(EdgeError, match=why) as refused:
        probe_pod.connection(options)
    assert "t0p" not in refused.value.sentence


def pod(age: int, phase: str = "Running", deadline: int = 600, **metadata: Any) -> dict[str, Any]:
    born = (NOW - timedelta(seconds=age)).strftime("%Y-%m-%dT%H:%M:%SZ")
    named = {"name": f"{phase}-{age}", "namespace": "shop", "creationTimestamp": born, **metadata}
    return {"metadata": named, "spec": {"activeDeadlineSeconds": deadline}, "status": {"phase": phase}}


@pytest.mark.parametrize(
    ("live", "over"),
    [
        (pod(30), False),
        (pod(599), False),
        (pod(630), False),  # clocks differ
        (pod(661), True),
        (pod(661, deadline=3600), False),  # a longer run beside this one
        (pod(661, "Pending"), True),
        (pod(5, "Failed"), True),
        (pod(5, "Succeeded"), True),
        (pod(661, deletionTimestamp="2026-12-01T11:59:59Z"), False),
    ],
)
def test_only_pods_that_nobody_works_in_are_over(live: dict[str, Any], over: bool) -> None:
    named = {"name": live["metadata"]["name"], "namespace": "shop"}
    assert probe_pod.over([live], NOW) == ([{"apiVersion": "v1", "kind": "Pod", "metadata": named}] if over else [])
