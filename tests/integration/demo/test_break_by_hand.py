# SPDX-License-Identifier: GPL-3.0-or-later
"""Break one setting of a VM's nginx by hand, on the lab: exactly the predicted lines of the proof turn red, with the cause named.

Each round breaks one setting for each VM and route, so that one run of the proof judges four of them; every VM and route
has lines of its own. docs/proof.md has the same table, and tests/unit/proof holds the plan against it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from plugins.module_utils._x509.sign import new_ca, new_leaf
from tests.integration.demo.demo_lab import Demo, configure
from tests.integration.playbooks import kubectl, on_host

pytestmark = [pytest.mark.lab, pytest.mark.vms]

FOREIGN_CA, FOREIGN_PAIR = "/run/foreign-ca.crt", "/run/foreign-client.pem"
VM_A, VM_B = "vm-deb12", "vm-deb13"


@dataclass(frozen=True)
class Break:
    """A change in the server block of ``host``: what is replaced by what, and what it must turn red.

    ``red`` maps checks to their cause; path checks are expected from every client.
    """

    vm: str
    route: str
    pattern: str
    replacement: str
    red: dict[str, str]


# The four that everybody gets wrong are broken in every run; the others in the long form.
FIRST = "SNI, CA, client certificate, Host"
ROUNDS = {
    FIRST: [
        Break(VM_A, "shop", r"proxy_ssl_server_name on;", "proxy_ssl_server_name off;", {"nginx.sni": "NO_SNI", "path.answer": "NO_SNI"}),
        Break(
            VM_A,
            "pay",
            r"proxy_ssl_trusted_certificate [^;]+;",
            f"proxy_ssl_trusted_certificate {FOREIGN_CA};",
            {"nginx.ca": "WRONG_TRUST_ANCHOR", "path.answer": "WRONG_TRUST_ANCHOR"},
        ),
        Break(
            VM_B,
            "pay",
            r"proxy_ssl_certificate(_key)? [^;]+;",
            "",
            {"nginx.client_certificate": "CLIENT_CERT_MISSING", "path.answer": "CLIENT_CERT_MISSING"},
        ),
        Break(
            VM_B,
            "shop",
            r"proxy_set_header Host [^;]+;",
            "proxy_set_header Host nobody.example.com;",
            {"nginx.host": "HOST_NOT_ROUTED", "path.answer": "HOST_NOT_ROUTED"},
        ),
    ],
    "HTTP version, verification, foreign client certificate, X-Forwarded-For": [
        Break(
            VM_A,
            "pay",
            r"proxy_http_version 1.1;",
            "proxy_http_version 1.0;",
            {"nginx.http_version": "HTTP10_UPSTREAM", "path.answer": "HTTP10_UPSTREAM"},
        ),
        Break(VM_A, "shop", r"proxy_ssl_verify on;", "proxy_ssl_verify off;", {"nginx.ca": "UPSTREAM_NOT_VERIFIED"}),
        Break(
            VM_B,
            "pay",
            r"(proxy_ssl_certificate(?:_key)?) [^;]+;",
            rf"\1 {FOREIGN_PAIR};",
            {"nginx.client_certificate": "CLIENT_CERT_UNTRUSTED", "path.answer": "CLIENT_CERT_UNTRUSTED"},
        ),
        Break(
            VM_B,
            "shop",
            r"proxy_set_header X-Forwarded-For [^;]+;",
            "proxy_set_header X-Forwarded-For $http_x_forwarded_for;",
            {
                "path.client_address": "CLIENT_ADDRESS_LOST",
                "path.forged_address": "FORGED_HEADER_PASSED",
                "path.access_log": "ACCESS_LOG_DISAGREES",
            },
        ),
    ],
    "name": [
        Break(
            VM_A,
            "shop",
            r"proxy_ssl_name [^;]+;",
            "proxy_ssl_name nobody.example.com;",
            {"nginx.sni": "WRONG_SNI", "nginx.ca": "UPSTREAM_NAME_MISMATCH", "path.answer": "WRONG_SNI"},
        ),
    ],
}


@pytest.fixture
def by_hand(configs: dict[str, str]) -> Callable[[list[Break]], None]:
    """Makes changes; the files that they name are there."""
    for vm in configs:
        on_host(vm, f"cat > {FOREIGN_CA}", _certificates(new_ca("somebody else", 1)))
        on_host(vm, f"umask 077; cat > {FOREIGN_PAIR}", _foreign_pair())

    def change(breaks: list[Break]) -> None:
        for vm in {each.vm for each in breaks}:
            text = configs[vm]
            for each in (each for each in breaks if each.vm == vm):
                text = _changed(text, each)
            configure(vm, text)

    return change


def _certificates(material: Any) -> str:
    return "".join(cert.public_bytes(Encoding.PEM).decode() for cert in material.certs)


def _foreign_pair() -> str:
    leaf = new_leaf(new_ca("somebody else", 1), ["edge.example.com"], "client", 1)
    return _certificates(leaf) + leaf.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def _changed(text: str, each: Break) -> str:
    """The configuration with the change in the proxying server block of this route only."""
    blocks = re.split(r"(?m)^(?=# [a-z]+\nserver \{)", text)
    found = [number for number, block in enumerate(blocks) if block.startswith(f"# {each.route}\n")]
    assert len(found) == 1, f"the server block of {each.route} is not where it was"
    block, count = re.subn(each.pattern, each.replacement, blocks[found[0]])
    assert count, f"{each.pattern} is not in the server block of {each.route}"
    return "".join([*blocks[: found[0]], block, *blocks[found[0] + 1 :]])


def _predicted(breaks: list[Break], clients: Iterable[str], gateway: str) -> dict[str, str]:
    """Ids of the lines that turn red, with their causes."""
    found = {}
    for each in breaks:
        for check, code in each.red.items():
            places = [f"{client}>{each.vm}" for client in clients] if check.startswith("path.") else [f"{each.vm}>{gateway}"]
            found.update({f"{each.route}/{check}/{place}": code for place in places})
    return found


def _red(report: dict[str, Any]) -> dict[str, str]:
    return {line["id"]: line["cause"]["code"] for line in report["proofs"] if line["status"] == "failed"}


def test_the_demo_is_proven_without_a_gap(demo: Demo) -> None:
    report, code = demo.first
    assert (code, report["ok"], _red(report)) == (0, True, {})
    assert [line["id"] for line in report["proofs"] if line["status"] != "ok"] == []
    for route in report["routes"]:
        assert route["claims"]["positive"] >= 5
        assert route["claims"]["negative"] >= 6
    assert all(line["observed"] and line["started"] for line in report["proofs"])


def test_curl_from_each_client_gets_the_apps_answer_over_http2_with_tls_verified(demo: Demo) -> None:
    """The same as path.http2 by other means: curl verifies by itself, against the CA that signed."""
    authority = on_host(VM_A, "cat /etc/edgemesh/tls/edgemesh/edge-ca/ca.crt")
    for client in demo.clients:
        for host in demo.vms.values():
            for name in ("shop.example.com", "pay.example.com"):
                shown = "%{http_version} %{ssl_verify_result} %{response_code}"
                curl = f"curl -sS --http2 --cacert /dev/stdin --resolve {name}:443:{host['ansible_host']} -w '\n{shown}' https://{name}/headers"
                *body, facts = on_host(client, curl, authority).splitlines()
                assert facts == "2 0 200"
                received = json.loads("\n".join(body))["headers"]
                assert received["Host"] == [name]
                assert received["X-Forwarded-For"][0].split(",")[0] == demo.clients[client]["ansible_host"]


@pytest.mark.parametrize(
    "breaks", [pytest.param(breaks, id=title, marks=[pytest.mark.soak] * (title != FIRST)) for title, breaks in ROUNDS.items()]
)
def test_exactly_the_predicted_lines_turn_red(demo: Demo, by_hand: Any, breaks: list[Break]) -> None:
    by_hand(breaks)
    report, code = demo.prove()
    gateway = next(line["to"] for line in report["proofs"] if line["check"] == "gateway.tls")
    predicted = _predicted(breaks, demo.clients, gateway)
    assert code != 0
    assert _red(report) == predicted
    # what is not tested hangs on what is red; by turns, other routes meet the broken one too
    for line in report["proofs"]:
        if line["status"] == "not_tested" and line["check"] not in ("path.own_identity", "path.lent_identity"):
            assert line["cause"]["root"] in predicted, line


@pytest.fixture
def permissive(demo: Demo) -> Iterator[None]:
    """The app takes plaintext as well, as long as this lasts."""

    def mode(word: str) -> None:
        patch = json.dumps({"spec": {"mtls": {"mode": word}}})
        kubectl("patch", "peerauthentication", "web", "--namespace", "shop", "--type", "merge", "--patch", patch)

    mode("PERMISSIVE")
    try:
        yield
    finally:
        mode("STRICT")


def _of_the_app(report: dict[str, Any]) -> dict[str, set[tuple[str, str]]]:
    """Status and code of the claims about the app's own pod, at all of its addresses and for both routes."""
    found: dict[str, set[tuple[str, str]]] = {"app.sidecar": set(), "app.plaintext": set()}
    for line in report["proofs"]:
        if line["check"] in found:
            found[line["check"]].add((line["status"], line["cause"].get("code", "")))
    return found


@pytest.mark.usefixtures("permissive")
def test_an_app_that_takes_plaintext_is_told_by_a_pod_alone(demo: Demo) -> None:
    wanted = {"app.sidecar": {("ok", "")}, "app.plaintext": {("failed", "APP_TAKES_PLAINTEXT")}}
    report, code = demo.prove()
    assert _of_the_app(report) == wanted
    assert code != 0
    assert set(_red(report).values()) == {"APP_TAKES_PLAINTEXT"}


def test_without_an_image_the_app_is_not_asked_and_the_report_says_why(demo: Demo) -> None:
    report, code = demo.prove("-e", "verify_probe_image=")
    assert (code, report["ok"]) == (0, True)
    untested = {line["cause"]["why"] for line in report["proofs"] if line["check"].startswith("app.")}
    assert untested == {"no image is named (verify_probe_image)"}
    assert {line["check"] for line in report["proofs"] if line["status"] != "ok"} == {"app.sidecar", "app.plaintext"}
