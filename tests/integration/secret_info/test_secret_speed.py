"""How soon a wait reacts, how little it asks while nothing happens, and how it fares with a thousand."""

from __future__ import annotations

import json
import os
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from plugins.module_utils._kube.client import Client
from tests.integration.kube.kube_proxy import Proxy
from tests.integration.kube.kube_rig import play
from tests.integration.secret_info.material import info, named, server, tls
from tests.integration.secret_info.own_api import OwnApi, kubeconfig
from tests.unit.x509.pki import Pair

pytestmark = pytest.mark.lab
SOAK = bool(os.environ.get("EDGEMESH_SOAK"))
MODULE = "edgemesh.nginx_istio.tls_secret_info"


def test_it_reacts_within_a_fifth_of_a_second(client: Client, namespace: str, new_client: Callable[..., Client]) -> None:
    """From before the write that makes the Secret fit until the wait is over, with the write itself."""
    times = []
    for number in range(20 if SOAK else 5):
        name = f"web{number}"
        made = client.create(tls(namespace, name))
        with ThreadPoolExecutor() as pool:

            def wait(name: str = name) -> float:
                assert info(new_client(30), named(namespace, name), wait=True)[0]["fit"]
                return time.monotonic()

            waiting = pool.submit(wait)
            time.sleep(0.5)
            fit = {**tls(namespace, name, server()), "metadata": made["metadata"]}
            started = time.monotonic()
            client.replace(fit)
            times.append(waiting.result() - started)
    print(f"reaction: median {statistics.median(times) * 1000:.0f} ms, worst {max(times) * 1000:.0f} ms of {len(times)}")
    assert statistics.median(times) <= 0.2


def test_while_nothing_happens_it_asks_nothing(client: Client, namespace: str) -> None:
    client.create(tls(namespace, "web"))
    seconds = 30 if SOAK else 3
    proxy = Proxy(client._transport, lambda _asked: None)
    try:
        with ThreadPoolExecutor() as pool:
            waiting = pool.submit(info, proxy.client(seconds), named(namespace, "web"), wait=True)
            time.sleep(seconds - 0.5)
            assert [each.verb for each in proxy.asked] == ["list", "watch"]
            assert "TIMEOUT" in str(getattr(waiting.exception(), "code", ""))
        # The last look is the third.
        print(f"requests in {seconds} s: {len(proxy.asked)}, with the last look at the deadline")
        assert len(proxy.asked) == 3
    finally:
        proxy.close()


@pytest.fixture(scope="module")
def pairs() -> list[Pair]:
    return [server(f"shop{number}.example.com") for number in range(20)]


def fill(client: Client, namespace: str, pairs: list[Pair], count: int) -> None:
    objects = [tls(namespace, f"web{number}", pairs[number % 20], labels={"app": "many"}) for number in range(count)]
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(client.create, objects))


@pytest.fixture
def counted(client: Client, tmp_path: Path) -> Iterator[tuple[Proxy, str]]:
    """A kubeconfig through a proxy that counts."""
    proxy = Proxy(client._transport, lambda _asked: None)
    path = tmp_path / "counted"
    path.write_text(json.dumps(kubeconfig({"server": proxy.url}, {})))
    yield proxy, str(path)
    proxy.close()


def test_many_by_label_take_a_few_requests(
    client: Client, namespace: str, pairs: list[Pair], counted: tuple[Proxy, str], tmp_path: Path
) -> None:
    """1,000 in the long form: at most 10 s and 25 requests, for the whole play."""
    count = 1000 if SOAK else 150
    fill(client, namespace, pairs, count)
    proxy, config = counted
    select = [{"namespace": namespace, "labels": "app=many"}]
    task = {"name": "look", MODULE: {"kubeconfig": config, "select": select, "wait": True}}
    started = time.monotonic()
    (result,), _printed = play(tmp_path, task)
    seconds = time.monotonic() - started
    assert [each["fit"] for each in result["results"]] == [True] * count
    print(f"{count} by label: {seconds:.1f} s and {len(proxy.asked)} requests")
    assert len(proxy.asked) <= 25
    assert seconds <= 10


@pytest.mark.soak
def test_beside_a_loop_of_k8s_info(
    api: OwnApi, client: Client, namespace: str, pairs: list[Pair], counted: tuple[Proxy, str], tmp_path: Path
) -> None:
    """The same with kubernetes.core, which reads keys along and judges nothing: one by one for some, and by label."""
    proxy, config = counted
    fill(client, namespace, pairs, 1000)
    some = 50
    common = {"kubeconfig": config, "api_version": "v1", "kind": "Secret", "namespace": namespace}
    loop = {"name": "one by one", "kubernetes.core.k8s_info": {**common, "name": "{{ item }}"}, "loop": [f"web{n}" for n in range(some)],
            "loop_control": {"label": "x"}, "no_log": True}  # fmt: skip
    label = {"name": "by label", "kubernetes.core.k8s_info": {**common, "label_selectors": ["app=many"]}, "no_log": True}
    for name, task in (("k8s_info one by one", loop), ("k8s_info by label", label)):
        before, started = len(proxy.asked), time.monotonic()
        _results, printed = play(tmp_path, task)
        assert "failed=0" in printed, printed
        count = some if task is loop else 1000
        seconds, requests = time.monotonic() - started, len(proxy.asked) - before
        print(f"{name}: {count} in {seconds:.1f} s and {requests} requests, so 1000 in {seconds * 1000 / count:.0f} s")
