# SPDX-License-Identifier: GPL-3.0-or-later
"""The path through a VM's nginx, and the catalogue of claims that are proven about it: docs/proof.md has the same tables."""

from __future__ import annotations

from ..chain import Chain, Hop, Known, Node, some
from ..checks import NEGATIVE, NEIGHBOURS, POSITIVE, TLS, Check

LISTENER, GATEWAY, MESH, PATH = "listener", "gateway", "mesh", "path"


def _nginx(path: Known) -> str:
    return "passes TLS on" if path.facts["passes_tls"] else "ends TLS, starts its own"


def _app(path: Known) -> str:
    return "behind its sidecar" if path.session(MESH) else ""


CHAIN = Chain(
    nodes=(
        Node("client", "CLIENT", lambda path: path.ends("from", LISTENER, PATH) or "client", lambda path: f"asks for {path.facts['host']}"),
        Node("nginx", "NGINX", lambda path: path.ends("to", LISTENER, PATH) or "nginx", _nginx, proxy=True),
        Node(
            "gateway",
            "MESH GATEWAY",
            lambda path: str(path.facts["gateway"]).rpartition("/")[2],
            lambda path: path.ends("to", GATEWAY) or str(path.facts["gateway"]).partition("/")[0],
            proxy=True,
        ),
        Node("app", "APP", lambda path: some(path.facts["services"]), _app),
    ),
    hops=(
        Hop(LISTENER, "client", "nginx", "Client to nginx"),
        Hop(GATEWAY, "nginx", "gateway", "nginx's machine to the gateway"),
        Hop(MESH, "gateway", "app", "Gateway to app"),
        Hop(PATH, "client", "app", "Client to app, through nginx"),
    ),
)

_ALL = (
    # --- client -> nginx
    Check("listener.certificate", LISTENER, POSITIVE, "nginx shows the expected certificate",
          "The chain verifies against the listener's CA and carries the host name.",
          judge="session", session=TLS, telling=True, presents="nginx"),
    Check("listener.http2", LISTENER, POSITIVE, "nginx speaks HTTP/2",
          "The listener chose h2 by ALPN.",
          "listener.certificate", "alpn", telling=True),
    Check("listener.http3", LISTENER, POSITIVE, "nginx offers HTTP/3",
          "The answer names it in Alt-Svc. HTTP/3 itself isn't spoken: the probe has no QUIC.",
          "path.answer", "offers", required=False),
    Check("listener.redirect", LISTENER, POSITIVE, "Plain HTTP is sent to HTTPS",
          "The plain port answers every request with 301 to the same host over https.",
          judge="redirect", telling=True),
    Check("listener.acme", LISTENER, POSITIVE, "ACME challenges stay reachable",
          "nginx answers a challenge path on the plain port from its own disk: it neither redirects nor forwards it.",
          judge="own_disk"),
    Check("listener.foreign_ca", LISTENER, NEGATIVE, "A foreign CA does not vouch for nginx",
          "The same chain doesn't verify against a CA made for this run, so the verification works.",
          "listener.certificate"),
    Check("listener.wrong_name", LISTENER, NEGATIVE, "nginx's certificate is not good for another name",
          "The same chain is refused when another host name is asked for.",
          "listener.certificate"),
    Check("listener.old_tls", LISTENER, NEGATIVE, "TLS 1.1 is refused",
          "A client that offers only TLS 1.1 gets no session.",
          "listener.certificate", "old_tls", required=False),
    Check("listener.plaintext", LISTENER, NEGATIVE, "Plaintext on the TLS port is refused",
          "A plain HTTP request to the TLS port gets nginx's 400, or nothing.",
          "listener.certificate"),
    Check("listener.unknown_host", LISTENER, NEGATIVE, "An unknown host is not served",
          "A request for a name that no route declares is refused or gets an error page; it never reaches the app.",
          "listener.certificate", "not_served"),
    # --- nginx's VM -> gateway, made from the VM with exactly what the route declares
    Check("gateway.tls", GATEWAY, POSITIVE, "The gateway's certificate verifies by nginx's rules",
          "From the VM, with nginx's CA file, SNI and client certificate: chain and name are good, and the gateway keeps the session open.",
          judge="session", session=TLS, telling=True, presents="the gateway"),
    Check("gateway.no_sni", GATEWAY, NEGATIVE, "A connection without SNI is refused",
          "The same session without a server name is cut off.",
          "gateway.tls", telling=True),
    Check("gateway.wrong_sni", GATEWAY, NEGATIVE, "A wrong SNI is refused",
          "The same session for an unknown server name is cut off.",
          "gateway.tls"),
    Check("gateway.foreign_ca", GATEWAY, NEGATIVE, "A foreign CA does not vouch for the gateway",
          "The chain that the gateway presents doesn't verify against a CA made for this run.",
          "gateway.tls"),
    Check("gateway.wrong_name", GATEWAY, NEGATIVE, "The gateway's certificate is not good for another name",
          "The same chain is refused by nginx's rules when another name is verified.",
          "gateway.tls"),
    Check("gateway.no_client_certificate", GATEWAY, NEGATIVE, "A client without a certificate is refused",
          "The same session without nginx's client certificate is refused, at the latest on the first read.",
          "gateway.tls", telling=True),
    Check("gateway.foreign_client_certificate", GATEWAY, NEGATIVE, "A foreign client certificate is refused",
          "The same session with a client certificate of an unknown CA is refused.",
          "gateway.tls"),
    Check("gateway.plaintext", GATEWAY, NEGATIVE, "Plaintext to the gateway's TLS port is refused",
          "A plain HTTP request to the same port is cut off.",
          "gateway.tls"),
    Check("gateway.http10", GATEWAY, NEGATIVE, "HTTP/1.0 is refused with 426",
          "The same request as HTTP/1.0 gets 426, so nginx must speak HTTP/1.1.",
          "gateway.answer", telling=True),
    # --- the same, with one setting as nginx's own configuration has it
    Check("nginx.sni", GATEWAY, POSITIVE, "nginx sends the SNI that the gateway expects",
          "The declared session with the server name from nginx's own configuration is accepted.",
          "gateway.tls", "setting", required=False),
    Check("nginx.ca", GATEWAY, POSITIVE, "nginx verifies the gateway with the right CA and name",
          "Verification is on, and the gateway's chain is good for the CA file and the name in nginx's own configuration.",
          "gateway.tls", "setting", required=False),
    Check("nginx.client_certificate", GATEWAY, POSITIVE, "nginx shows a client certificate that the gateway accepts",
          "The declared session with the certificate files from nginx's own configuration is accepted.",
          "gateway.tls", "setting", required=False),
    Check("nginx.http_version", GATEWAY, POSITIVE, "nginx speaks a version of HTTP that the gateway accepts",
          "The declared request in the HTTP version of nginx's own configuration is answered.",
          "gateway.answer", "setting", required=False),
    Check("nginx.host", GATEWAY, POSITIVE, "nginx sends the Host that the gateway routes",
          "The declared request with the Host header from nginx's own configuration is answered.",
          "gateway.answer", "setting", required=False),
    Check("nginx.own_upstream", GATEWAY, POSITIVE, "nginx keeps the route's TLS identity apart",
          "In nginx's own configuration, no location with another server name, client certificate, CA or verification "
          "shares kept sessions or connections with the route's upstream.",
          judge="own_upstream", required=False),
    # --- gateway -> app
    Check("gateway.answer", MESH, POSITIVE, "The gateway reaches the app",
          "From the VM, the probe path is answered through the gateway with the declared status.",
          "gateway.tls", "answer", telling=True),
    Check("gateway.wrong_host", MESH, NEGATIVE, "A wrong Host is not routed",
          "The same request with another Host header gets 404 from the gateway.",
          "gateway.answer", telling=True),
    Check("mesh.mtls", MESH, POSITIVE, "Gateway and app speak the mesh's own mTLS",
          "X-Forwarded-Client-Cert, as the app received it, names two SPIFFE identities: the gateway's and the app's sidecar's.",
          "path.answer", "mesh_identity", required=False, session="mesh mTLS", telling=True),
    # --- a pod without a sidecar -> app, past the gateway
    Check("app.sidecar", MESH, POSITIVE, "The app's sidecar asks for a certificate of the mesh",
          "From a pod without a sidecar, TLS to the app's own pod is shown a SPIFFE identity of the app's namespace, "
          "and is refused without one.",
          judge="sidecar", required=False),
    Check("app.plaintext", MESH, NEGATIVE, "Plaintext from inside the cluster, straight to the app's pod, is refused (STRICT)",
          "The same pod's plain HTTP request to the same address and port is cut off.",
          "app.sidecar", "plaintext", required=False, telling=True),
    # --- client -> nginx -> gateway -> app
    Check("path.answer", PATH, POSITIVE, "The app answers through nginx",
          "From the client, with nginx's certificate verified, the probe path is answered with the declared status.",
          "listener.certificate", "answer", telling=True),
    Check("path.mesh", PATH, POSITIVE, "The answer came through the mesh",
          "The answer carries the header that Envoy adds when it has called an upstream.",
          "path.answer", "header"),
    Check("path.http2", PATH, POSITIVE, "The app answers over HTTP/2",
          "The same request over HTTP/2 gets the same status.",
          "path.answer", "answer", required=False, telling=True),
    Check("path.repeat", PATH, POSITIVE, "Several answers in a row are right",
          "Several requests in a row all get the declared status: no node, worker or pooled connection is different.",
          "path.answer", "answer"),
    Check("path.websocket", PATH, POSITIVE, "WebSocket upgrades pass",
          "An upgrade is answered 101 with the accept key that only a WebSocket server computes.",
          "path.answer", "websocket", required=False),
    Check("path.client_address", PATH, POSITIVE, "The app learns the client's address",
          "X-Forwarded-For, as the app received it, begins with an address of the client's own.",
          "path.answer", "client_address", required=False, telling=True),
    Check("path.scheme", PATH, POSITIVE, "The app learns that the client came by HTTPS",
          "X-Forwarded-Proto, as the app received it, is https.",
          "path.answer", "scheme", required=False),
    Check("path.client_identity", PATH, POSITIVE, "The mesh saw nginx's client certificate",
          "X-Forwarded-Client-Cert, as the app received it, holds the SHA-256 of the certificate on the VM.",
          "path.answer", "client_identity", required=False, telling=True),
    Check("path.own_identity", PATH, NEGATIVE, "The request borrows no other identity",
          "After a request that nginx sends to the same place as another client, over one warm connection, "
          "it arrives with its own identity, as past nginx.",
          judge="identity", required=False),
    Check("path.lent_identity", PATH, NEGATIVE, "No other request borrows the route's identity",
          "The reverse: the other request, sent after the route's own, arrives with its own identity.",
          judge="identity", required=False),
    Check("path.forged_address", PATH, NEGATIVE, "A forged X-Forwarded-For does not survive",
          "A forged address is not in the headers that the app received.",
          "path.answer", "forged", required=False, telling=True),
    Check("path.forged_identity", PATH, NEGATIVE, "A forged X-Forwarded-Client-Cert does not survive",
          "A forged identity is not in the headers that the app received.",
          "path.answer", "forged", required=False),
    Check("path.access_log", PATH, POSITIVE, "The gateway's access log agrees",
          "The log line of this very request shows HTTP/1.1 (HTTP/2 for gRPC), the declared SNI and an address of the client's own.",
          "path.answer", "access_log", required=False, telling=True),
    # --- on a VM where this run changed something: the routes of other lists there
    Check("neighbour.answers", NEIGHBOURS, POSITIVE, "Another list's route answers",
          "From the VM itself, after this run's change, a request for its name gets an answer below 500 through nginx; "
          "where clients show certificates of their own, it is asked for one.",
          judge="neighbour"),
    Check("neighbour.stranger", NEIGHBOURS, NEGATIVE, "A name of no route gets no such answer",
          "The same request for a name that no route has is refused, or gets another answer, which is not from the app.",
          "neighbour.answers", "stranger"),
)  # fmt: skip

CHECKS = {check.name: check for check in _ALL}
