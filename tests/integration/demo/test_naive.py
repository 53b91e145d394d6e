# SPDX-License-Identifier: GPL-3.0-or-later
"""A configuration as people write it, in the demo's place: one gateway, asked with a client certificate for one path, without for another.

nginx keeps TLS sessions for each server of an upstream, whoever opened them, so the path without a certificate gets in as the other one.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lab import settings
from tests.integration.demo.demo_lab import Demo, configure

pytestmark = [pytest.mark.lab, pytest.mark.vms, pytest.mark.soak]

VM = "vm-deb12"
HOST = "pay.example.com"
MATERIAL = "/etc/edgemesh/tls/edgemesh"
GATEWAY = f"{settings.NODE_IP}:{settings.NODE_PORTS['https']}"
COMMON = (
    f"proxy_pass https://{GATEWAY}; proxy_ssl_server_name on; proxy_ssl_name {HOST}; proxy_http_version 1.1; proxy_set_header Host $host;"
    f" proxy_ssl_verify on; proxy_ssl_trusted_certificate {MATERIAL}/edge-ca/ca.crt;"
)
# Port 80 stays: nginx can't give it up while it serves a more specific address of it, as nginx_config has it do.
NAIVE = f"""server {{ listen 80; return 404; }}
# pay
server {{
    listen 443 ssl;
    server_name {HOST};
    ssl_certificate {MATERIAL}/pay-public/tls.crt;
    ssl_certificate_key {MATERIAL}/pay-public/tls.key;
    location / {{
        {COMMON}
        proxy_ssl_certificate {MATERIAL}/edge-client/tls.crt;
        proxy_ssl_certificate_key {MATERIAL}/edge-client/tls.key;
    }}
    location = /get {{
        {COMMON}
    }}
}}
"""


@pytest.mark.usefixtures("configs")
def test_verify_and_diagnose_find_the_lent_identity(demo: Demo, tmp_path: Path) -> None:
    configure(VM, NAIVE)
    report = tmp_path / "diagnosis.json"
    asked = {"diagnose_host": HOST, "diagnose_path": "/get", "diagnose_on": VM, "diagnose_report": str(report)}
    done = demo.play("diagnose", "-e", json.dumps(asked))
    assert (done.returncode, "changed=0" in done.stdout) == (0, True), done.stdout[-3000:]
    found = json.loads(report.read_text())
    codes = {each["code"]: each["why"] for each in (found["cause"], *found["then"], *found["findings"])}
    assert {"CLIENT_CERT_MISSING", "IDENTITY_BORROWED", "UPSTREAM_IDENTITY_SHARED"} <= set(codes), found
    assert found["cause"]["code"] == "CLIENT_CERT_MISSING", "alone it is refused"
    assert "by TLS sessions" in codes["IDENTITY_BORROWED"]
    proof, _code = demo.prove()
    (own,) = [line for line in proof["proofs"] if line["id"].startswith(f"pay/nginx.own_upstream/{VM}>")]
    assert (own["status"], own["cause"]["code"]) == ("failed", "UPSTREAM_IDENTITY_SHARED")
