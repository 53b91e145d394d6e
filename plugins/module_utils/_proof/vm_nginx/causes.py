# SPDX-License-Identifier: GPL-3.0-or-later
"""Causes that only a proof of this path finds, besides those of the probe itself; docs/proof.md explains each."""

from __future__ import annotations

from ..._probe.causes import Cause

_TABLE = (
    Cause(
        "HTTP2_OFF", "nginx was offered h2 and http/1.1 and did not choose h2.", "http2 on;  # nginx before 1.25.1: listen 443 ssl http2;"
    ),
    Cause(
        "HTTP3_NOT_OFFERED",
        "The answer does not tell clients that nginx speaks HTTP/3.",
        "add_header Alt-Svc 'h3=\":443\"; ma=86400' always;",
    ),
    Cause(
        "SERVED_TO_ANYBODY",
        "A request for a name that belongs to no route got an answer.",
        "server {{ listen 443 ssl default_server; ssl_reject_handshake on; }}",
    ),
    Cause("REDIRECT_ELSEWHERE", "The redirect does not lead to https on this host.", "return 301 https://$host$request_uri;"),
    Cause(
        "NOT_THROUGH_MESH",
        "The answer lacks the header that Envoy adds, so something else answered, or something hides the header.",
        "nginx -T | grep -nE '{prefix}_pass|{prefix}_hide_header'",
    ),
    Cause(
        "APP_OUTSIDE_MESH",
        "Nobody at the app's address speaks the mesh's TLS: no sidecar, mTLS disabled there, or IPv6 that the sidecar does not take in.",
        "kubectl get pods -A -o wide  # sidecar.istio.io/inject, and proxyMetadata.ISTIO_DUAL_STACK where pods have two addresses",
    ),
    Cause(
        "APP_TAKES_PLAINTEXT",
        "The app answers plaintext, so anybody who reaches its pod gets in past the gateway: mTLS is PERMISSIVE there.",
        "kubectl get peerauthentication -A  # for the app: spec: {{mtls: {{mode: STRICT}}}}, and no portLevelMtls that says otherwise",
    ),
    Cause(
        "WEBSOCKET_BROKEN",
        "No WebSocket server answered the upgrade.",
        "proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $connection_upgrade;",
    ),
    Cause(
        "CLIENT_ADDRESS_LOST",
        "X-Forwarded-For does not begin with the client's address: nginx does not set it, or something in between rewrites addresses.",
        "{prefix}_set_header X-Forwarded-For $remote_addr;",
    ),
    Cause("SCHEME_LOST", "The app is told another scheme than the client used.", "{prefix}_set_header X-Forwarded-Proto $scheme;"),
    Cause(
        "OTHER_CLIENT_IDENTITY",
        "The gateway saw another client certificate than the one on the VM: an old one still in use, or another location's.",
        "nginx -s reload  # and one upstream block for each SNI, client certificate, CA and verification",
    ),
    Cause(
        "FORGED_HEADER_PASSED",
        "A header that the client forged reaches the app.",
        '{prefix}_set_header X-Forwarded-For $remote_addr; {prefix}_set_header X-Forwarded-Client-Cert "";',
    ),
    Cause(
        "NEIGHBOUR_SILENT",
        "Another list's route, which this run does not make, does not answer on a VM that this run changed: {detail}.",
        "ansible-playbook edgemesh.nginx_istio.diagnose -e diagnose_host={host}  # nginx_config with state: rolled_back undoes the change",
    ),
    Cause(
        "ACCESS_LOG_DISAGREES",
        "The gateway's access log differs from the route.",
        "nginx -T | grep -nE '{prefix}_pass|{prefix}_ssl_name|X-Forwarded-For'",
    ),
)

CAUSES: dict[str, Cause] = {cause.code: cause for cause in _TABLE}
