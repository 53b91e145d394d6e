# SPDX-License-Identifier: GPL-3.0-or-later
"""How soon a wait reacts, how little it asks while nothing happens, and how it fares with a thousand."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from plugins.module_utils._kube.client import Client
from tests.bench.bench_tls_secrets import measure, report
from tests.integration.kube.kube_proxy import Proxy
from tests.integration.secret_info.material import info, named, server, tls

pytestmark = pytest.mark.lab
SOAK = bool(os.environ.get("EDGEMESH_SOAK"))


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
    """Then something does happen, which ends the wait without a further request."""
    made = client.create(tls(namespace, "web"))
    seconds = 30 if SOAK else 3
    proxy = Proxy(client._transport, lambda _asked: None)
    try:
        with ThreadPoolExecutor() as pool:
            waiting = pool.submit(info, proxy.client(seconds + 60), named(namespace, "web"), wait=True)
            time.sleep(seconds)
            assert not waiting.done()
            client.replace({**tls(namespace, "web", server()), "metadata": made["metadata"]})
            assert waiting.result()[0]["fit"]
        print(f"requests in {seconds} s: {len(proxy.asked)}")
        assert [each.verb for each in proxy.asked] == ["list", "watch"]
    finally:
        proxy.close()


def test_many_take_few_requests_and_little_time(client: Client) -> None:
    """1,000 in the long form, beside a loop of kubernetes.core. A second export rewrites no file: that is checked where it is measured."""
    count, some = (1000, 20) if SOAK else (40, 0)
    found = measure(client, count, some)
    print(report(found, count))
    assert found["info"].requests <= 25
    if SOAK:
        assert found["info"].seconds <= 10
        assert found["export"].seconds <= 60
        assert found["export again"].seconds <= 60
