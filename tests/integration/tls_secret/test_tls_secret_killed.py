# SPDX-License-Identifier: GPL-3.0-or-later
"""tls_secret killed at every step of its work on a real API server: no half set, and the next run goes on from there."""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, Optional

import pytest

from plugins.module_utils._kube.client import Client
from plugins.module_utils._kube.connection import connect
from plugins.module_utils._kube.transport import Transport
from plugins.module_utils._secrets import authority, folder
from plugins.module_utils._secrets.entries import entries
from plugins.module_utils._secrets.tls_secret import Delivery
from plugins.module_utils._x509 import chain, facts
from plugins.module_utils._x509.material import from_secret
from tests.unit.x509.test_x509_files import killed_at

pytestmark = pytest.mark.cluster
WHOLE = bool(os.environ.get("EDGEMESH_SOAK"))


def wanted(namespace: str, stage: str = "", names: str = "shop.example.com", path: str = "") -> list[dict[str, Any]]:
    ca = {"namespace": namespace, "name": "edge-ca"}
    kept = {"folder": path} if path else {}
    issuer = {**ca, **kept}
    return [
        {**ca, "issue": {"usage": "ca", **kept, **({"roll_over": stage} if stage else {})}},
        {"namespace": namespace, "name": "edge-shop", "for": "gateway", "include_ca": True, "issue": {"ca": issuer, "names": [names]}},
        {"namespace": namespace, "name": "edge-client", "issue": {"usage": "client", "ca": issuer, "names": ["edge.example.com"]}},
        {"namespace": namespace, "name": "edge-shop-cacert", "for": "gateway_ca", "from": {"secret": ca}},
        {"namespace": namespace, "name": "copy", "from": {"secret": {"namespace": namespace, "name": "edge-shop"}}},
    ]


def deliver(kubeconfig: Path, listed: list[dict[str, Any]]) -> list[str]:
    client = connect({"kubeconfig": str(kubeconfig), "timeout": 30})
    return [each.action for each in Delivery(client, entries(listed)).present()]


def arm(last: int) -> None:
    """Kill this process at step ``last``: when the answer to a write has come, or ahead of a change of the CA's file; in the long form
    also ahead of every request, and when the answer to a read has come."""
    steps = itertools.count(1)

    def step() -> None:
        if next(steps) == last:
            os.kill(os.getpid(), signal.SIGKILL)

    send = Transport.send

    def sent(transport: Transport, method: str, *arguments: Any, **named: Any) -> Any:
        if WHOLE:
            step()
        answer = send(transport, method, *arguments, **named)
        if WHOLE or method != "GET":
            step()
        return answer

    Transport.send = sent  # type: ignore[method-assign]
    for name in ("open", "rename"):
        setattr(os, name, counted(getattr(os, name), step))


def counted(call: Callable[..., Any], step: Callable[[], None]) -> Callable[..., Any]:
    def called(path: Any, *arguments: Any, **named: Any) -> Any:
        if "edge-ca.pem" in str(path):
            step()
        return call(path, *arguments, **named)

    return called


def check_whole(client: Client, namespace: str, path: str, *, complete: bool) -> None:
    """Every Secret that is there is whole, and no leaf is there without what verifies it."""
    there = {each["metadata"]["name"]: each for each in client.list("Secret", namespace)[0]}
    if complete:
        assert set(there) == {"edge-ca", "edge-shop", "edge-client", "edge-shop-cacert", "copy"}
    kept: Optional[authority.Authority] = None
    file = folder.path_of(path, "edge-ca") if path else ""
    if file and os.path.exists(file):
        kept = authority.load_file(Path(file).read_bytes(), file)
    elif "edge-ca" in there and not path:
        kept = authority.load(there["edge-ca"])
    trusted = kept.trusted if kept else []
    for name in ("edge-shop", "edge-client", "copy"):
        if name in there:
            material = from_secret(there[name])
            assert material.key is not None
            assert facts.key_matches(material.key, material.leaf)
            usage = "client" if name == "edge-client" else "server"
            assert chain.verify(material.certs, trusted, purpose=usage).ok, name
            if "edge-shop-cacert" in there:  # whoever trusts by the copy trusts the leaf, at any moment
                assert chain.verify(material.certs, from_secret(there["edge-shop-cacert"]).ca, purpose=usage).ok, name
    if complete:
        assert from_secret(there["copy"]).leaf == from_secret(there["edge-shop"]).leaf
        assert set(from_secret(there["edge-shop-cacert"]).ca) == set(trusted)
    if path and os.path.isdir(path):
        assert not complete or os.listdir(path) == ["edge-ca.pem"], "something is left behind"


@pytest.mark.parametrize("where", ["secret", pytest.param("folder", marks=pytest.mark.soak)])
def test_killed_at_every_step(where: str, client: Client, namespace: str, folder: Path, kubeconfig: Path) -> None:
    """From nothing, a change, and each step of a roll-over; every one from the same start for every step that it is killed at."""
    path = str(folder / "ca") if where == "folder" else ""
    jobs: list[dict[str, str]] = [{}, {"stage": "add"}, {"stage": "switch"}]
    if WHOLE:
        jobs += [{"stage": "finish"}, {"names": "www.example.com"}]
    count = 0
    for job in jobs:
        listed = wanted(namespace, path=path, **job)
        step = 0
        while True:
            step += 1
            before = snapshot(client, namespace, path)
            killed = killed_at(step, lambda listed=listed: deliver(kubeconfig, listed), arm)
            check_whole(client, namespace, path, complete=False)
            deliver(kubeconfig, listed)
            check_whole(client, namespace, path, complete=True)
            assert deliver(kubeconfig, wanted(namespace, path=path, names=job.get("names", "shop.example.com"))) == ["unchanged"] * 5
            if not killed:
                break
            count += 1
            restore(client, namespace, path, before)
    print(f"{where}: killed {count} times")
    assert count >= (90 if WHOLE else 12)


State = tuple[list[dict[str, Any]], Optional[bytes]]


def snapshot(client: Client, namespace: str, path: str) -> State:
    secrets = client.list("Secret", namespace)[0]
    for each in secrets:
        each["metadata"] = {key: each["metadata"][key] for key in ("name", "namespace", "labels", "annotations") if key in each["metadata"]}
    file = Path(path) / "edge-ca.pem"
    return secrets, file.read_bytes() if path and file.exists() else None


def restore(client: Client, namespace: str, path: str, state: State) -> None:
    secrets, text = state
    for each in client.list("Secret", namespace)[0]:
        client.delete("Secret", each["metadata"]["name"], namespace)
    for each in secrets:
        client.create(each)
    file = Path(path) / "edge-ca.pem"
    if path and text is None:
        file.unlink(missing_ok=True)
    elif path and text is not None:
        file.write_bytes(text)
