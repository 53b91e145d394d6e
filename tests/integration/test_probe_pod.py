# SPDX-License-Identifier: GPL-3.0-or-later
"""Role probe_pod: what edge_probe sees from a pod with and without a sidecar, and that no pod stays behind, whatever becomes of the run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab import network
from plugins.module_utils._kube.connection import connect
from plugins.module_utils._kube.pod_ports import look
from plugins.module_utils._probe import spec
from plugins.module_utils._probe.entry import entry
from plugins.module_utils._probe.spec import Http
from plugins.module_utils._proof.vm_nginx import app
from tests.figures import FIGURES
from tests.integration.playbooks import CHECKOUT, INVENTORY, KUBECTL, LAB, kubectl, play

pytestmark = [pytest.mark.lab, pytest.mark.mesh]
MARK = uuid.uuid4().hex[:6]
SPACE, MESH = f"edgemesh-test-pod-{MARK}", f"edgemesh-test-pod-mesh-{MARK}"
PATH = {"PATH": f"{os.environ['PATH']}:{LAB / 'bin'}"}

BOOK = """
- hosts: localhost
  gather_facts: false
  module_defaults:
    group/edgemesh.nginx_istio.k8s: "{{ cluster }}"
  tasks:
    - name: Probe from a pod
      vars:
        began: "{{ now().timestamp() }}"
      block:
        - ansible.builtin.set_fact: {began: "{{ began }}"}
        - ansible.builtin.include_role: {name: edgemesh.nginx_istio.probe_pod}
        - name: Probe
          edgemesh.nginx_istio.edge_probe: {paths: "{{ paths }}", fail: false}
          delegate_to: "{{ probe_pod_host or 'localhost' }}"
          when: probe_pod_host | length > 0
          register: seen
        - ansible.builtin.copy:
            content: >-
              {{ {'host': probe_pod_host, 'reason': probe_pod_reason, 'seen': seen.results | default([]),
                  'seconds': now().timestamp() - (began | float)} | to_json }}
            dest: "{{ said }}"
            mode: "0600"
          check_mode: false
        - ansible.builtin.wait_for: {timeout: "{{ hang }}"}
          when: hang > 0
        - ansible.builtin.fail: {msg: this task was meant to fail}
          when: trip
      always:
        - ansible.builtin.include_role: {name: edgemesh.nginx_istio.probe_pod}
          vars: {probe_pod_state: absent}
"""


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The playbook; a namespace that takes none but restricted pods, and one whose pods get sidecars where they ask for it."""
    path = tmp_path_factory.mktemp("probe_pod") / "book.yml"
    path.write_text(BOOK)
    for namespace in (SPACE, MESH):
        kubectl("create", "namespace", namespace)
    kubectl("label", "namespace", SPACE, "pod-security.kubernetes.io/enforce=restricted")
    yield path
    kubectl("delete", "namespace", SPACE, MESH, "--wait=false")


@pytest.fixture
def values(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """A run's variables."""

    def made(*paths: dict[str, Any], **more: Any) -> dict[str, Any]:
        return {
            "cluster": {"kubeconfig": str(LAB / "kubeconfig")},
            "probe_pod_image": json.loads((LAB / "images.json").read_text())["python"],
            "probe_pod_namespace": SPACE,
            "probe_pod_labels": {"sidecar.istio.io/inject": "false"},
            "paths": list(paths),
            "said": str(tmp_path / "said.json"),
            "hang": 0,
            "trip": False,
            **more,
        }

    return made


def run(book: Path, values: dict[str, Any], *more: str, env: dict[str, str] | None = None) -> dict[str, Any]:
    """What the run saw; it must succeed and change nothing."""
    done = play(str(book), values, *more, env={**PATH, **(env or {})})
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    assert "changed=0" in done.stdout.replace("changed=1", "changed=0", 1), done.stdout[-500:]  # the file with what was said
    said: dict[str, Any] = json.loads(Path(values["said"]).read_text())
    return {**said, "printed": done.stdout, "seen": {each["name"]: each for each in said["seen"]}}


def refused(book: Path, values: dict[str, Any]) -> str:
    """How a run ends that can't have its pod."""
    done = play(str(book), values, env=PATH)
    assert done.returncode != 0, done.stdout
    return done.stdout


def pods(namespace: str = SPACE) -> dict[str, str]:
    """Probe pods that stay, with their phases."""
    listed = json.loads(
        kubectl("get", "pods", "--namespace", namespace, "--selector", "app.kubernetes.io/component=probe-pod", "-o", "json")
    )
    return {each["metadata"]["name"]: each["status"]["phase"] for each in listed["items"]}


def eventually(true: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, pods()
        time.sleep(0.3)


def app_addresses() -> list[str]:
    """Where the echo app's pod listens, by both families where it has both."""
    found = look(connect({"kubeconfig": str(LAB / "kubeconfig"), "timeout": 30}), {"namespace": "lab-echo", "name": "echo", "port": 8000})
    assert found["reason"] == ""
    addresses: list[str] = found["addresses"]
    return addresses


def app_address() -> str:
    """Over IPv4."""
    return app_addresses()[0]


def named(name: str, path: spec.Path) -> dict[str, Any]:
    return entry(replace(path, name=name))


def test_without_a_sidecar_plaintext_is_refused_where_the_sidecar_answers_tls(book: Path, values: Any) -> None:
    places = app_addresses()
    assert len(places) == 1 + network.has_ipv6()
    through = {"address": "istio-ingressgateway.istio-system.svc.cluster.local", "port": 80}
    claims = [named(f"claim {each}", app.plaintext_probe(each, Http(path="/status/418"))) for each in places]
    controls = [named(f"control {each}", app.sidecar_probe(each)) for each in places]
    asked = {"http": {"path": "/status/418", "host": "echo.lab.example"}, "expect": {"status": [418]}}
    said = run(book, values(*claims, *controls, {"name": "gateway", **through, **asked}))
    seen = said["seen"]
    assert {each["ok"] for each in seen.values()} == {True}, seen
    for each in places:
        claim = seen[f"claim {each}"]
        assert (claim["phase"], claim["http"]) == ("http", None)
        assert app.identity(seen[f"control {each}"], "lab-echo") == "spiffe://cluster.local/ns/lab-echo/sa/default"
    first = seen[f"claim {next(iter(places))}"]
    assert {each["vantage"] for each in seen.values()} == {said["host"]}
    assert first["source"].startswith("198.18.6")  # a pod's address, not a node's
    FIGURES.append(f"probe_pod: {said['seconds']:.1f} s from the role's first task to the results from a pod without a sidecar")
    eventually(lambda: said["host"] not in pods(), 15)


def test_with_a_sidecar_plaintext_to_the_service_is_carried_by_mtls(book: Path, values: Any) -> None:
    service = json.loads(kubectl("get", "service", "echo", "--namespace", "lab-echo", "--output", "json"))["spec"]
    place = {"address": service["clusterIP"], "port": 8000}
    asked = {
        "http": {"path": "/headers", "host": "echo.lab-echo:8000"},
        "expect": {"body_contains": f"spiffe://cluster.local/ns/{MESH}/sa/"},
    }
    inside = {"probe_pod_namespace": MESH, "probe_pod_labels": {"sidecar.istio.io/inject": "true"}}
    said = run(book, values({"name": "service", **place, **asked}, **inside))
    assert said["seen"]["service"]["ok"], said["seen"]["service"]
    FIGURES.append(f"probe_pod: {said['seconds']:.1f} s from the role's first task to the results from a pod with a sidecar")
    outside = {"probe_pod_namespace": MESH}
    assert run(book, values({"name": "service", **place, **asked}, **outside))["seen"]["service"]["code"] == "PLAINTEXT_TO_TLS_PORT"


def test_the_pod_goes_when_a_task_fails(book: Path, values: Any) -> None:
    assert "this task was meant to fail" in refused(book, values(trip=True))
    eventually(lambda: not pods(), 15)


def test_a_killed_runs_pod_ends_by_itself_and_the_next_run_removes_it_and_no_other(book: Path, values: Any) -> None:
    words = ["ansible-playbook", str(book), "--inventory", str(INVENTORY), "--extra-vars"]

    def began(**more: Any) -> subprocess.Popen[bytes]:
        before = set(pods())
        started = subprocess.Popen(
            [*words, json.dumps(values(hang=120, **more))],
            cwd=CHECKOUT,
            env={**os.environ, **PATH},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        eventually(lambda: "Running" in {phase for name, phase in pods().items() if name not in before}, 30)
        return started

    killed = began(probe_pod_lifetime=8)
    (name,) = pods()
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    eventually(lambda: pods()[name] == "Failed", 40)
    beside = began()
    try:
        (other,) = set(pods()) - {name}
        eventually(lambda: name not in pods(), 15)
        said = run(book, values({"name": "x", "address": "198.18.0.1", "port": 6443}))
        assert said["host"] != other
        assert pods()[other] == "Running"
    finally:
        os.killpg(beside.pid, signal.SIGKILL)
        beside.wait()
        kubectl("delete", "pods", "--all", "--namespace", SPACE, "--wait=false")


def test_without_an_image_and_in_check_mode_nothing_is_made_and_the_reason_is_said(book: Path, values: Any) -> None:
    assert run(book, values(probe_pod_image=""))["reason"] == "no image is named for a probe pod"
    assert run(book, values(), "--check")["reason"] == "check mode makes no probe pod"
    assert pods() == {}


def test_a_token_never_gets_onto_kubectls_command_line(book: Path, values: Any) -> None:
    kubeconfig = yaml.safe_load((LAB / "kubeconfig").read_text())
    said = run(book, values(cluster={"kubeconfig": kubeconfig}), "-vvv")
    assert "the kubeconfig is no file that kubectl could read" in said["reason"]
    secret = next(iter(kubeconfig["users"]))["user"]
    assert not [name for name, value in secret.items() if name.endswith(("key-data", "token")) and value in said["printed"]]
    # what stands in the environment for others
    said = run(book, values(named("x", app.sidecar_probe(app_address()))), "-vvv", env={"K8S_AUTH_TOKEN": "t0ps3cret"})
    assert said["seen"]["x"]["ok"]
    assert "--token" not in said["printed"]
    assert "t0ps3cret" not in said["printed"]


def test_what_keeps_a_pod_from_being_made_is_said_and_may_be_no_failure(book: Path, values: Any) -> None:
    missing = f"the namespace {SPACE}-x does not exist"
    assert missing in refused(book, values(probe_pod_namespace=f"{SPACE}-x"))
    assert missing in run(book, values(probe_pod_namespace=f"{SPACE}-x", probe_pod_fail=False))["reason"]
    wrong = run(book, values(probe_pod_image="localhost/edgemesh/nothing:1", probe_pod_timeout=6, probe_pod_fail=False))["reason"]
    assert "ErrImagePull" in wrong or "ImagePullBackOff" in wrong
    # the sidecar's init container asks for capabilities that restricted pods don't get
    assert "violates PodSecurity" in run(book, values(probe_pod_labels={"sidecar.istio.io/inject": "true"}, probe_pod_fail=False))["reason"]
    eventually(lambda: not pods(), 15)


def test_the_documented_role_is_enough(book: Path, values: Any, tmp_path: Path) -> None:
    items = yaml.safe_load((CHECKOUT / "docs/rbac/probe_pod.yaml").read_text())["items"]
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "edgemesh"}}
    for each in items:
        each["subjects"] = [{"kind": "ServiceAccount", "name": "edgemesh", "namespace": SPACE}] if "roleRef" in each else None
    listed = {"apiVersion": "v1", "kind": "List", "items": [account, *({k: v for k, v in each.items() if v} for each in items)]}
    subprocess.run([*KUBECTL, "apply", "--namespace", SPACE, "--filename", "-"], input=json.dumps(listed), text=True, check=True)
    config = yaml.safe_load((LAB / "kubeconfig").read_text())
    user = config["users"][0]["name"]
    config["users"] = [{"name": user, "user": {"token": kubectl("create", "token", "edgemesh", "--namespace", SPACE).strip()}}]
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(config))
    path.chmod(0o600)
    said = run(book, values(named("x", app.sidecar_probe(app_address())), cluster={"kubeconfig": str(path)}))
    assert said["seen"]["x"]["ok"]
    eventually(lambda: not pods(), 15)
