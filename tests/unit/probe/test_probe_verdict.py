# SPDX-License-Identifier: GPL-3.0-or-later
"""The verdict where only the host's own facts tell, and the report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import pytest

from plugins.module_utils._diagnose import ladder as plan
from plugins.module_utils._diagnose import report
from plugins.module_utils._diagnose.hostfacts import Facts, facts_of, questions
from plugins.module_utils._diagnose.inquiry import Question, addresses, inquire
from plugins.module_utils._diagnose.verdict import diagnose
from plugins.module_utils._errors import EdgeError
from plugins.module_utils._nginx.read.effective import effective, read
from plugins.module_utils._probe.causes import CAUSES, Context
from plugins.module_utils._probe.spec import Path
from plugins.module_utils._script import Answer

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
    lines = report.text(diagnose(way(), HOST, "/", [BAD_GATEWAY, REPLAY], [], Facts(selinux_denies=True)))
    assert lines[0] == "shop.example.com/: SELINUX_BOOLEAN"
    assert lines[2] == "fix: setsebool -P httpd_can_network_connect on"
    assert report.text(diagnose(way(), HOST, "/", [result(plan.THROUGH), REPLAY]))[0] == "shop.example.com/: healthy"


RUNNING = "    500 nginx: master process nginx\n    100 nginx: worker process"


@pytest.mark.parametrize(
    ("said", "facts"),
    [
        ({}, Facts()),
        ({"enforcing": "Enforcing", "boolean": "httpd_can_network_connect --> off"}, Facts(selinux_denies=True)),
        ({"enforcing": "Enforcing", "boolean": "httpd_can_network_connect --> on"}, Facts()),
        ({"enforcing": "Permissive", "boolean": "httpd_can_network_connect --> off"}, Facts()),
        ({"enforcing": "", "boolean": ""}, Facts()),
        # by the kernel itself, where the tools are not installed
        ({"enforcing": "1", "boolean": "0 0"}, Facts(selinux_denies=True)),
        ({"enforcing": "1", "boolean": "1 1"}, Facts()),
        ({"enforcing": "0", "boolean": "0 0"}, Facts()),
        ({"now": "1000", "processes": RUNNING, "files": "950 /a b.conf\n800 /c.conf"}, Facts(newer_files=["/a b.conf"])),
        ({"now": "1000", "processes": RUNNING, "files": "901 /a.conf"}, Facts()),  # a second of doubt
        ({"now": "1000", "files": "999 /a.conf"}, Facts()),  # no worker
    ],
)
def test_facts_of_the_host(said: dict[str, str], facts: Facts) -> None:
    assert set(said) <= set(questions([]))
    assert facts_of({name: Answer(text, 0) for name, text in said.items()}) == facts


class Machine:
    """A host that prints this for ``nginx -v -T``, and whose probes all end with this code."""

    def __init__(self, dump: str, status: int = 0, code: str = "", **said: str) -> None:
        self.said = {"nginx": Answer(dump, status), **{name: Answer(text, 0) for name, text in said.items()}}
        self.code, self.asked, self.probed = code, [], []

    def ask(self, commands: Mapping[str, str]) -> dict[str, Answer]:
        self.asked.append(commands)
        return {name: answer for name, answer in self.said.items() if name in commands}

    def probe(self, paths: list[Path]) -> list[dict[str, Any]]:
        self.probed.append([each.name for each in paths])
        return [result(each.name, self.code) for each in paths]

    def inquire(self, **question: Any) -> Any:
        return inquire(Question(HOST, **question), self.ask, self.probe)


def test_a_healthy_path_takes_one_command_and_one_round_of_probes() -> None:
    machine = Machine(DUMP % "")
    assert machine.inquire(nginx=("nginx", "-c", "/my file")).healthy
    assert machine.probed == [[plan.THROUGH, "as nginx to 192.0.2.10:30443"]]
    (command,) = machine.asked
    assert "nginx -c '/my file' -v -T" in command["nginx"]


def test_a_failure_is_corrected_and_the_host_is_asked_about_its_files() -> None:
    machine = Machine((DUMP % "").replace("proxy_ssl_server_name on", "proxy_ssl_server_name off"), code="NO_SNI")
    assert machine.inquire().cause.code == "NO_SNI"
    assert machine.probed[1] == [f"{plan.CORRECTED}{HOST}: SNI"]
    assert "-- /etc/nginx/nginx.conf" in machine.asked[1]["files"]


def test_a_broken_configuration_is_quoted() -> None:
    said = 'nginx version: nginx/1.22.1\nnginx: [emerg] unknown directive "x" in /etc/nginx/a.conf:1\nnginx: configuration … test failed'
    cause = Machine(said, 1).inquire().cause
    assert (cause.code, 'unknown directive "x" in /etc/nginx/a.conf:1' in cause.why) == ("NGINX_CONFIG_BROKEN", True)


def test_a_host_without_nginx_is_probed_as_by_any_client() -> None:
    machine = Machine("sh: 1: nginx: not found", 127)
    found = machine.inquire(gateway=(("192.0.2.10", 30443),))
    assert (found.healthy, machine.probed, len(found.notes)) == (True, [["gateway 192.0.2.10:30443"]], 1)


def test_a_shell_without_an_answer_is_no_healthy_host() -> None:
    machine = Machine("")
    machine.said = {}
    with pytest.raises(EdgeError, match="gave no answer"):
        machine.inquire()


def test_addresses_as_people_write_them() -> None:
    assert addresses(["192.0.2.1:1", " [2001:db8::1]:443", "gw.example:2", ""]) == (
        ("192.0.2.1", 1),
        ("2001:db8::1", 443),
        ("gw.example", 2),
    )
    for wrong in ("192.0.2.1", ":443", "gw.example:https", "-----BEGIN PRIVATE KEY-----"):
        with pytest.raises(EdgeError, match=r"^gateway: ('[a-z0-9.:]*'|what looks like key material) is not an address with a port"):
            addresses([wrong])


GRPC = """nginx version: nginx/1.22.1
# configuration file /etc/nginx/nginx.conf:
http { server { listen 443 ssl; server_name shop.example.com; location / {
    grpc_pass grpcs://192.0.2.10:30443; grpc_ssl_server_name on; grpc_ssl_verify off;
} } }
"""


def test_a_grpc_location_is_sent_what_nginx_sends() -> None:
    first = plan.first_look(effective(read(GRPC), HOST), HOST, "/", [])
    assert [(each.http and each.http.version, each.tls and each.tls.alpn) for each in first[1:]] == [("2", ("h2",))]


@pytest.mark.parametrize("code", sorted(set(CAUSES) - {"NGINX_NOT_PROXYING", "HTTP10_UPSTREAM", "NOT_TESTED"}))
def test_no_fix_breaks_a_grpc_location(code: str) -> None:
    """Whatever is wrong: the sentence and the fix are in the words of the gRPC module, and none adds a second way to pass on."""
    grpc = effective(read(GRPC), HOST)
    steps = [result("gateway 192.0.2.11:30443"), result(f"{plan.CORRECTED}{HOST}: SNI")]
    found = diagnose(grpc, HOST, "/", [BAD_GATEWAY, result("as nginx to 192.0.2.10:30443", code)], steps)
    assert found.cause
    for each in (found.cause, *found.then, *found.findings):
        assert "proxy_" not in each.why + each.fix.replace("proxy_protocol", ""), each
    assert "UPSTREAM_NOT_VERIFIED" in {each.code for each in (found.cause, *found.findings)}


def test_the_fix_of_a_grpc_location_is_its_own_directive() -> None:
    fixes = {
        "NO_SNI": ("grpc_ssl_server_name on; grpc_ssl_name shop.example.com;", 2),
        "HOST_NOT_ROUTED": ("grpc_set_header Host $host;", 1),
        "CONNECTION_REFUSED": ("grpc_pass grpcs://192.0.2.11:30443;", 2),
    }
    for code, (fix, line) in fixes.items():
        seen = [BAD_GATEWAY, result("as nginx to 192.0.2.10:30443", code)]
        cause = diagnose(
            effective(read(GRPC), HOST), HOST, "/", seen, [{**result("gateway 192.0.2.11:30443"), "target": "192.0.2.11:30443"}]
        ).cause
        assert cause
        assert (cause.code, cause.fix, cause.place) == (code, fix, f"/etc/nginx/nginx.conf:{line}")


def test_a_replay_that_this_host_cannot_send_is_noted_and_not_blamed() -> None:
    found = diagnose(effective(read(GRPC), HOST), HOST, "/", [result(plan.THROUGH), result("as nginx to 192.0.2.10:30443", "NOT_TESTED")])
    assert found.healthy
    assert found.notes == ["as nginx to 192.0.2.10:30443: It could not be tested: x."]


def test_secrets_in_headers_are_not_read() -> None:
    made = way('proxy_set_header Authorization "Basic c2VjcmV0"; proxy_set_header X-Api-Key k; proxy_set_header X-Tenant t;')
    assert made.proxy.headers == {"Connection": "close", "X-Tenant": "t"}
    assert "c2VjcmV0" not in str(asdict(made))


@pytest.mark.parametrize(
    "location",
    [
        "proxy_pass https://192.0.2.10:30443/in?key=s3cr3t;",
        "return 302 https://login.example/?key=s3cr3t;",
        "proxy_pass http://$arg_to/?key=s3cr3t;",
    ],
)
@pytest.mark.parametrize("code", ["", "NGINX_BAD_GATEWAY", "HOST_NOT_ROUTED"])
def test_the_values_of_a_query_in_the_configuration_are_not_shown(location: str, code: str) -> None:
    server = f"server {{ listen 80; server_name {HOST}; location / {{ {location} }} }}"
    dump = f"nginx version: nginx/1.22.1\n# configuration file /etc/nginx/nginx.conf:\nhttp {{ {server} }}\n"

    def probe(paths: list[Path]) -> list[dict[str, Any]]:
        return [
            {**result(each.name, code, 502 if code else 200), "observed": f"HTTP 200 of {each.http.path if each.http else ''}"}
            for each in paths
        ]

    found = inquire(Question(HOST), lambda asked: {"nginx": Answer(dump, 0)} if "nginx" in asked else {}, probe)
    assert "s3cr3t" in str(asdict(found)), "the test has nothing to hide"
    assert "s3cr3t" not in str(report.shown(found)) + str(report.text(found))
