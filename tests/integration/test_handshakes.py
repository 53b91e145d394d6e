# SPDX-License-Identifier: GPL-3.0-or-later
"""Two hosts by turns, each over a new client connection: no answer for the other's name, and next to no handshakes with the gateway."""

from __future__ import annotations

import http.client
import re
import ssl
import uuid
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.own_gateway import own_gateway
from tests.integration.playbooks import hosts, kubectl, on_host, play, variables

pytestmark = [pytest.mark.lab, pytest.mark.vms, pytest.mark.soak]
VM = "vm-deb13"
SPACE = f"edgemesh-test-hs-{uuid.uuid4().hex[:6]}"
NAMES = ["one.example.com", "two.example.com"]
TIMES = 400
# Not among Istio's usual statistics.
STATISTICS = {"proxy.istio.io/config": '{"proxyStatsMatcher": {"inclusionRegexps": [".*ssl\\\\.handshake"]}}'}


def values() -> dict[str, Any]:
    routes = [
        {
            "name": name.partition(".")[0],
            "host": name,
            "listen": {"certificate": "hs-public"},
            "paths": [{"service": {"namespace": "shop", "name": "web", "port": 8000}}],
            "probe": {"path": "/status/418", "status": 418},
        }
        for name in NAMES
    ]
    return {**variables(*routes, vms=VM), "edge_gateways": {"main": {"namespace": SPACE, "service": "gw"}}}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with own_gateway(SPACE, tmp_path_factory.mktemp("gateway"), podAnnotations=STATISTICS):
        done = play("site.yml", values())
        assert done.returncode == 0, done.stdout[-4000:]
        yield
        done = play("teardown.yml", values())
        assert done.returncode == 0, done.stdout[-3000:]


def handshakes() -> int:
    """How many the gateway has made with clients, by its own statistics."""
    said = kubectl(
        "exec", "--namespace", SPACE, "deployment/gw", "--", "pilot-agent", "request", "GET", "stats?filter=listener.*ssl.handshake"
    )
    counted = re.findall(r"^listener\.\S*ssl\.handshake: (\d+)$", said, re.MULTILINE)
    assert counted, said
    return sum(map(int, counted))


def statuses() -> Counter[int]:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    address = hosts("edge_nginx")[VM]["ansible_host"]
    found: Counter[int] = Counter()
    for number in range(TIMES):
        connection = Named(address, NAMES[number % 2], context)
        connection.request("GET", "/status/200", headers={"Host": NAMES[number % 2]})
        found[connection.getresponse().status] += 1
        connection.close()
    return found


class Named(http.client.HTTPSConnection):
    """A connection to an address that asks for a name."""

    def __init__(self, address: str, name: str, context: ssl.SSLContext) -> None:
        super().__init__(address, 443, timeout=20)
        self.name, self.wrap = name, context

    def connect(self) -> None:
        http.client.HTTPConnection.connect(self)
        self.sock = self.wrap.wrap_socket(self.sock, server_hostname=self.name)


def workers() -> int:
    return len(on_host(VM, "pgrep -f 'nginx: worker process$'").split())


def test_two_hosts_by_turns(served: None) -> None:
    statuses()  # now each worker has connections of its own
    before = handshakes()
    assert statuses() == {200: TIMES}
    made = handshakes() - before
    print(f"{TIMES} requests, {made} handshakes with the gateway, {workers()} workers")
    assert made <= workers() * len(NAMES), "workers x upstreams x nodes"


def test_without_keepalive_each_request_is_a_handshake(served: None) -> None:
    """Which shows that the test before could fail."""
    on_host(VM, "sed -i '/^ *keepalive/d' /etc/nginx/edgemesh/current/upstream-*.conf && nginx -t && nginx -s reload && sleep 2")
    before = handshakes()
    assert statuses() == {200: TIMES}
    made = handshakes() - before
    print(f"{TIMES} requests without keepalive, {made} handshakes")
    assert made > 0.95 * TIMES
