"""The verdict where only the host's own facts tell, and the report."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytest

from plugins.module_utils._diagnose import ladder as plan
from plugins.module_utils._diagnose import report
from plugins.module_utils._diagnose.hostfacts import Facts, facts_of
from plugins.module_utils._diagnose.verdict import diagnose
from plugins.module_utils._nginx.read.effective import effective, read
from plugins.module_utils._probe.causes import CAUSES, Context

HOST = "shop.example.com"
DUMP = """nginx version: nginx/1.22.1
# configuration file /etc/nginx/nginx.conf:
http { server { listen 443 ssl; server_name shop.example.com; location / {
    proxy_pass https://192.0.2.10:30443; proxy_ssl_server_name on; proxy_ssl_name shop.example.com; proxy_ssl_verify on;
    proxy_ssl_trusted_certificate ca.crt; proxy_http_version 1.1; proxy_set_header Host $host; %s
} } }
"""


def way(extra: str = "") -> Any:
    return effective(read(DUMP % extra), HOST)


def result(name: str, code: str = "", status: int | None = 200, phase: str = "http", **headers: str) -> dict[str, Any]:
    row = CAUSES.get(code)
    context = Context(target="192.0.2.10:30443", host=HOST, detail="x")
    return {
        "name": name, "ok": not code, "target": "192.0.2.10:30443", "vantage": "vm", "phase": phase, "code": code, "started": "",
        "sentence": row.sentence(context) if row else "", "fix": row.remedy(context) if row else "", "doc": row.anchor if row else "",
        "observed": f"HTTP {status}", "times": {"tcp": 1.0}, "tls": None, "checks": [], "sent": {},
        "http": {"status": status, "headers": headers} if status else None,
    }  # fmt: skip


BAD_GATEWAY = result(plan.THROUGH, "NGINX_BAD_GATEWAY", 502)
REPLAY = result("as nginx to 192.0.2.10:30443")


@pytest.mark.parametrize(
    ("facts", "code"),
    [
        (Facts(), "NGINX_UNLIKE_REPLAY"),
        (Facts(selinux_denies=True), "SELINUX_BOOLEAN"),
        (Facts(newer_files=["/etc/nginx/conf.d/shop.conf"]), "NGINX_NOT_RELOADED"),
        (Facts(broken='unknown directive "prxy_pass" in /etc/nginx/conf.d/shop.conf:3'), "NGINX_CONFIG_BROKEN"),
    ],
)
def test_only_nginx_fails(facts: Facts, code: str) -> None:
    found = diagnose(way(), HOST, "/", [BAD_GATEWAY, REPLAY], [], facts)
    assert found.cause
    assert (found.cause.code, found.healthy) == (code, False)


def test_what_is_wrong_behind_nginx_counts_more_than_what_the_host_says() -> None:
    replay = result("as nginx to 192.0.2.10:30443", "WRONG_TRUST_ANCHOR", phase="tls_handshake")
    found = diagnose(way(), HOST, "/", [BAD_GATEWAY, replay], [], Facts(selinux_denies=True, newer_files=["/x"]))
    assert found.cause
    assert (found.cause.code, found.cause.place) == ("WRONG_TRUST_ANCHOR", "/etc/nginx/nginx.conf:3")


def test_healthy() -> None:
    found = diagnose(way(), HOST, "/", [result(plan.THROUGH), REPLAY], [])
    assert (found.healthy, found.cause, found.then, found.findings, found.notes) == (True, None, [], [], [])


@pytest.mark.parametrize("status", [400, 404, 500, 502, 503])
def test_what_the_application_answers_is_its_own_affair(status: int) -> None:
    answer = {"x-envoy-upstream-service-time": "3"}
    seen = [result(name, "UNEXPECTED_STATUS", status, **answer) for name in (plan.THROUGH, "as nginx to 192.0.2.10:30443")]
    assert diagnose(way(), HOST, "/", seen, []).healthy


def test_client_certificate_for_nginx_itself_is_said_and_not_blamed() -> None:
    asked = effective(read(DUMP.replace("server_name shop", "ssl_verify_client on; server_name shop") % ""), HOST)
    found = diagnose(asked, HOST, "/", [result(plan.THROUGH, "CLIENT_CERT_MISSING", 400), REPLAY], [])
    assert found.healthy
    assert "was not tested" in found.notes[0]


def test_nothing_to_probe_is_not_called_healthy() -> None:
    found = diagnose(None, HOST, "/", [], [])
    assert found.cause
    assert found.cause.code == "NOT_TESTED"


def test_gateway_alone() -> None:
    assert diagnose(None, HOST, "/", [result("gateway 192.0.2.10:30443")], []).healthy
    found = diagnose(None, HOST, "/", [result("gateway 192.0.2.10:30443", "CLIENT_CERT_MISSING", None)], []).cause
    assert found
    assert found.code == "CLIENT_CERT_MISSING"


def test_report_begins_with_the_answer() -> None:
    lines = report.text(asdict(diagnose(way(), HOST, "/", [BAD_GATEWAY, REPLAY], [], Facts(selinux_denies=True))))
    assert lines[0] == "shop.example.com/: SELINUX_BOOLEAN"
    assert lines[2] == "fix: setsebool -P httpd_can_network_connect on"
    assert report.text(asdict(diagnose(way(), HOST, "/", [result(plan.THROUGH), REPLAY], [])))[0] == "shop.example.com/: healthy"


@pytest.mark.parametrize(
    ("lines", "facts"),
    [
        ("", Facts()),
        ("getenforce Enforcing\ngetsebool httpd_can_network_connect --> off", Facts(selinux_denies=True)),
        ("getenforce Enforcing\ngetsebool httpd_can_network_connect --> on", Facts()),
        ("getenforce Permissive\ngetsebool httpd_can_network_connect --> off", Facts()),
        ("getenforce \ngetsebool ", Facts()),
        # by the kernel itself, where the tools are not installed
        ("getenforce 1\ngetsebool 0 0", Facts(selinux_denies=True)),
        ("getenforce 1\ngetsebool 1 1", Facts()),
        ("getenforce 0\ngetsebool 0 0", Facts()),
        (
            "date 1000\n    500 nginx: master process nginx\n    100 nginx: worker process\nstat 950 /a b.conf\nstat 800 /c.conf",
            Facts(newer_files=["/a b.conf"]),
        ),
        ("date 1000\n    500 nginx: master process nginx\n    100 nginx: worker process\nstat 901 /a.conf", Facts()),  # a second of doubt
        ("date 1000\nstat 999 /a.conf", Facts()),  # no worker
    ],
)
def test_facts_of_the_host(lines: str, facts: Facts) -> None:
    assert facts_of("", lines) == facts


def test_broken_configuration_is_quoted() -> None:
    said = (
        'nginx version: nginx/1.22.1\nnginx: [emerg] unknown directive "x" in /etc/nginx/a.conf:1\nnginx: configuration file … test failed'
    )
    assert facts_of(said, "").broken == 'unknown directive "x" in /etc/nginx/a.conf:1'


def test_secrets_in_headers_are_not_read() -> None:
    made = way('proxy_set_header Authorization "Basic c2VjcmV0"; proxy_set_header X-Api-Key k; proxy_set_header X-Tenant t;')
    assert made.proxy.headers == {"Connection": "close", "X-Tenant": "t"}
    assert "c2VjcmV0" not in str(asdict(made))
