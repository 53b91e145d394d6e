# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of causes: a stable code, why in one sentence, and one line that mends it. docs/causes.md explains each.

Templates may use the fields of :class:`Context` and nothing else.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Context:
    """What sentences may name. ``detail`` is a whole clause about this very case."""

    target: str = ""
    address: str = ""
    port: str = ""
    sni: str = ""
    host: str = ""
    path: str = ""
    name: str = ""
    ca: str = ""
    cert: str = ""
    status: str = ""
    detail: str = ""
    prefix: str = "proxy"  # of nginx's directives: "grpc" where it passes gRPC on


@dataclass(frozen=True)
class Cause:
    """One row of the table."""

    code: str
    why: str
    fix: str

    @property
    def anchor(self) -> str:
        """Where the documentation explains it."""
        return f"docs/causes.md#{self.code.lower()}"

    def sentence(self, context: Context) -> str:
        """Why, for this case."""
        return _fill(self.why, context)

    def remedy(self, context: Context) -> str:
        """The line that mends it, for this case."""
        return _fill(self.fix, context)


def _fill(template: str, context: Context) -> str:
    return template.format(**asdict(context))


_TABLE = (
    # --- reaching the other side
    Cause("DNS_NO_ADDRESS", "The name {address} has no address here: {detail}.", "getent ahosts {address}"),
    Cause(
        "CONNECTION_REFUSED",
        "Nothing listens at {target}: a wrong or changed NodePort, or no gateway behind it.",
        "kubectl get service --all-namespaces --field-selector spec.type!=ClusterIP | grep {port}",
    ),
    Cause(
        "CONNECT_TIMEOUT",
        "{target} does not answer at all: a firewall, a dead node, or externalTrafficPolicy Local on a node without a gateway pod.",
        "kubectl get service,endpointslices --all-namespaces -o wide | grep {port}",
    ),
    Cause("HOST_UNREACHABLE", "There is no route to {address} from here: {detail}.", "ip route get {address}"),
    Cause("CONNECT_DENIED", "This host itself forbids connecting to {target}: {detail}.", "setsebool -P httpd_can_network_connect on"),
    Cause(
        "SELINUX_BOOLEAN",
        "SELinux forbids nginx to connect to the network (13: Permission denied), while this host itself reaches {target}.",
        "setsebool -P httpd_can_network_connect on",
    ),
    Cause(
        "PROXY_PROTOCOL_ONE_SIDED",
        "Only one side speaks the PROXY protocol at {target}{detail}.",
        "kubectl -n istio-system edit configmap istio  # gatewayTopology.proxyProtocol there and proxy_protocol in nginx: both or neither",
    ),
    # --- the TLS handshake
    Cause(
        "NO_SNI",
        "No server name (SNI) is sent to {target}, so the gateway can't choose a server and resets the connection.",
        "proxy_ssl_server_name on; proxy_ssl_name {host};",
    ),
    Cause(
        "WRONG_SNI",
        "{target} refuses connections for the server name {sni}: no Gateway server lists it, or its certificate Secret is missing{detail}.",
        "proxy_ssl_server_name on; proxy_ssl_name {host};",
    ),
    Cause("TLS_TO_PLAINTEXT_PORT", "TLS is spoken to {target}, which does not speak TLS.", "proxy_pass http://{target};"),
    Cause("PLAINTEXT_TO_TLS_PORT", "Plain HTTP is spoken to {target}, which speaks TLS.", "proxy_pass https://{target};"),
    Cause("TLS_VERSION_GAP", "The two sides of {target} have no TLS version in common{detail}.", "proxy_ssl_protocols TLSv1.2 TLSv1.3;"),
    Cause("TLS_CIPHER_GAP", "The two sides of {target} have no cipher in common.", "proxy_ssl_ciphers DEFAULT;"),
    Cause(
        "ALPN_GAP", "{target} speaks none of the application protocols that were offered (ALPN).", "curl -kv --http1.1 https://{target}/"
    ),
    Cause(
        "HANDSHAKE_TIMEOUT",
        "{target} accepts the connection but never answers the TLS handshake.",
        "openssl s_client -connect {target} -servername {host}",
    ),
    Cause("HANDSHAKE_FAILED", "The TLS handshake with {target} fails: {detail}.", "openssl s_client -connect {target} -servername {host}"),
    # --- the server's certificate, judged by the rules of who connects
    Cause(
        "WRONG_TRUST_ANCHOR",
        "The certificate that {target} shows is not signed by a CA in {ca}: {detail}.",
        "proxy_ssl_trusted_certificate /path/of/the/CA/that/signed/the/gateway.crt;",
    ),
    Cause(
        "TRUST_NEEDS_ROOT",
        "nginx needs the self-signed root in {ca}, an intermediate alone is not enough: {detail}.",
        "cat root.crt >> {ca}",
    ),
    Cause("CA_UNREADABLE", "The trusted certificates can't be used: {detail}.", "openssl x509 -in {ca} -noout -subject"),
    Cause(
        "UPSTREAM_NAME_MISMATCH",
        "The certificate that {target} shows is not for {name}: {detail}.",
        "proxy_ssl_name {host};",
    ),
    Cause(
        "SPIFFE_ONLY_CERT",
        "The certificate that {target} shows has only a SPIFFE name, which nginx can't verify: {detail}.",
        "kubectl get gateways.networking.istio.io -A -o yaml  # tls.mode SIMPLE or MUTUAL, a certificate for {host}, not ISTIO_MUTUAL",
    ),
    Cause(
        "SERVER_CERT_EXPIRED",
        "A certificate of the chain that {target} shows has expired: {detail}.",
        "openssl s_client -connect {target} -servername {sni} </dev/null | openssl x509 -noout -enddate  # then renew it",
    ),
    Cause(
        "SERVER_CERT_NOT_YET_VALID",
        "A certificate that {target} shows is not valid yet (or a clock is wrong): {detail}.",
        "timedatectl status",
    ),
    Cause(
        "EKU_NO_SERVERAUTH",
        "The certificate that {target} shows may not be used by a server: {detail}.",
        "openssl s_client -connect {target} -servername {sni} </dev/null | openssl x509 -noout -text  # re-issue with serverAuth",
    ),
    Cause("VERIFY_DEPTH", "The chain of {target} is longer than nginx will follow: {detail}.", "proxy_ssl_verify_depth 3;"),
    Cause(
        "SERVER_CHAIN_REFUSED",
        "The certificate chain that {target} shows is refused: {detail}.",
        "openssl s_client -connect {target} -servername {sni} -showcerts </dev/null",
    ),
    # --- our client certificate
    Cause(
        "CLIENT_CERT_MISSING",
        "{target} demands a client certificate and none is sent.",
        "proxy_ssl_certificate /path/of/client.crt; proxy_ssl_certificate_key /path/of/client.key;",
    ),
    Cause(
        "CLIENT_CERT_UNTRUSTED",
        "{target} does not trust the issuer of the client certificate{detail}.",
        "kubectl -n istio-system get secrets  # the CA there (caCertCredentialName, <credential>-cacert) must be the client certificate's",
    ),
    Cause("CLIENT_CERT_EXPIRED", "The client certificate has expired{detail}.", "openssl x509 -in {cert} -noout -enddate  # then renew it"),
    Cause(
        "EKU_NO_CLIENTAUTH",
        "The client certificate may not be used by a client: it lacks clientAuth, like all certificates of public CAs since 2026{detail}.",
        "openssl x509 -in {cert} -noout -ext extendedKeyUsage  # re-issue from a private CA with clientAuth",
    ),
    Cause(
        "CLIENT_NAME_NOT_PINNED",
        "{target} trusts the issuer of the client certificate but not its name: the Gateway's subjectAltNames do not list it{detail}.",
        "openssl x509 -in {cert} -noout -ext subjectAltName  # put that name under tls.subjectAltNames of the Gateway",
    ),
    Cause("CLIENT_CERT_REFUSED", "{target} refuses the client certificate{detail}.", "openssl x509 -in {cert} -noout -text"),
    Cause("CLIENT_CERT_UNREADABLE", "The client certificate can't be used: {detail}.", "openssl x509 -in {cert} -noout -subject"),
    # --- HTTP and policy at the gateway
    Cause(
        "HTTP10_UPSTREAM", "The gateway refuses HTTP/1.0 (426 Upgrade Required).", 'proxy_http_version 1.1; proxy_set_header Connection "";'
    ),
    Cause(
        "HOST_NOT_ROUTED",
        "The gateway has no route for Host {host} and path {path} (404 by the gateway itself, flag NR){detail}.",
        "proxy_set_header Host $host;",
    ),
    Cause(
        "MISDIRECTED_REQUEST", "The gateway says that Host {host} does not belong on this TLS connection (421).", "proxy_ssl_name {host};"
    ),
    Cause(
        "RBAC_DENIED",
        "An AuthorizationPolicy denies the request (403 RBAC: access denied).",
        "kubectl get authorizationpolicies.security.istio.io --all-namespaces",
    ),
    Cause(
        "JWT_REFUSED",
        "A RequestAuthentication refuses the request's token: {detail}.",
        "kubectl get requestauthentications.security.istio.io --all-namespaces",
    ),
    Cause(
        "RATE_LIMITED",
        "The request was answered with 429: a rate limit is in force.",
        "kubectl get envoyfilters.networking.istio.io --all-namespaces",
    ),
    Cause(
        "NO_HEALTHY_UPSTREAM",
        "The gateway has the route but no endpoint behind it (503, flag UH): no ready pod, or a wrong port or subset.",
        "kubectl get endpointslices --all-namespaces",
    ),
    Cause(
        "UPSTREAM_UNREACHABLE",
        "The gateway can't connect to the service behind it (503, flag UF): {detail}.",
        "kubectl get services,endpointslices --all-namespaces -o wide",
    ),
    Cause(
        "UPSTREAM_TLS_FAILED",
        "TLS between the gateway and the service behind it fails (503, flag UF): {detail}.",
        "kubectl get destinationrules.networking.istio.io,peerauthentications.security.istio.io --all-namespaces",
    ),
    Cause(
        "SDS_SECRET_MISSING",
        "The gateway lacks the Secret that its own TLS to the next hop needs (Secret is not supplied by SDS).",
        "kubectl -n istio-system get secrets  # it belongs into the gateway pod's namespace",
    ),
    Cause(
        "UPSTREAM_CLOSED",
        "The service behind the gateway closes the connection (503, flag UC): {detail}.",
        "kubectl get peerauthentications.security.istio.io,destinationrules.networking.istio.io --all-namespaces",
    ),
    Cause(
        "CLUSTER_NOT_FOUND",
        "The route at the gateway leads to a service that the mesh does not know (503, flag NC).",
        "istioctl analyze --all-namespaces",
    ),
    Cause("UPSTREAM_TIMEOUT", "The service behind the gateway did not answer in time (504, flag UT).", "kubectl top pods --all-namespaces"),
    Cause(
        "REDIRECT_LOOP",
        "The answer redirects to the address that was asked for ({status}){detail}.",
        "proxy_set_header X-Forwarded-Proto $scheme;",
    ),
    Cause(
        "HTTP_TIMEOUT",
        "{target} did not answer the request in time{detail}.",
        "curl -kv --max-time 60 https://{target}{path} -H 'Host: {host}'",
    ),
    Cause(
        "HTTP_NO_ANSWER", "{target} ended the connection without an answer{detail}.", "curl -kv https://{target}{path} -H 'Host: {host}'"
    ),
    Cause("HTTP_GARBLED", "The answer of {target} is not HTTP{detail}.", "curl -kv --http1.1 https://{target}{path} -H 'Host: {host}'"),
    Cause("UNEXPECTED_STATUS", "The status is {status}{detail}.", "curl -kv https://{target}{path} -H 'Host: {host}'"),
    Cause("UNEXPECTED_ANSWER", "The answer is not the expected one: {detail}.", "curl -kv https://{target}{path} -H 'Host: {host}'"),
    Cause(
        "UNEXPECTED_TLS", "The TLS connection is not the expected one: {detail}.", "openssl s_client -connect {target} -servername {sni}"
    ),
    # --- what should have been refused
    Cause(
        "MTLS_NOT_ENFORCED",
        "{target} lets in a client whose certificate is {detail}: mutual TLS is not enforced.",
        "kubectl get gateways.networking.istio.io --all-namespaces -o yaml  # tls.mode: MUTUAL",
    ),
    Cause(
        "NOT_REFUSED",
        "{target} answers a request that it should refuse ({detail}).",
        "kubectl get gateways.networking.istio.io --all-namespaces -o yaml",
    ),
    # --- nginx itself
    Cause(
        "NGINX_BAD_GATEWAY",
        "nginx itself answers 502: its connection to the next hop fails.",
        "ansible-playbook edgemesh.nginx_istio.diagnose -e diagnose_host={host}",
    ),
    Cause("NGINX_UPSTREAM_TIMEOUT", "nginx itself answers 504: the next hop does not answer in time.", "proxy_read_timeout 60s;"),
    Cause("NGINX_NOT_FOUND", "nginx itself answers 404: no location passes {path} on.", "nginx -T | grep -n -A5 'server_name.*{host}'"),
    Cause(
        "NGINX_FORBIDDEN",
        "nginx itself answers 403: access rules, or a file that it may not read.",
        "nginx -T | grep -nE 'deny|allow|auth_'",
    ),
    Cause("NGINX_ERROR", "nginx itself answers {status}.", "nginx -t"),
    Cause("NGINX_NOT_RUNNING", "Nothing answers at {target}, where nginx should listen.", "systemctl status nginx"),
    Cause(
        "NGINX_HANDSHAKE",
        "nginx itself fails the TLS handshake for {host}: {detail}.",
        "nginx -T | grep -nE 'server_name|ssl_certificate|ssl_reject'",
    ),
    Cause(
        "LISTEN_CERT_EXPIRED",
        "The certificate that nginx shows to clients has expired: {detail}.",
        "openssl s_client -connect {target} -servername {host} </dev/null | openssl x509 -noout -enddate  # then renew it",
    ),
    Cause(
        "LISTEN_CERT_NAME",
        "The certificate that nginx shows to clients is not for {host}: {detail}.",
        "ssl_certificate /path/of/a/certificate/for/{host}.crt;",
    ),
    Cause("NGINX_CONFIG_BROKEN", "The nginx configuration on disk does not pass its own test: {detail}.", "nginx -t"),
    Cause("NGINX_NO_SERVER", "No server of this nginx has the name {host}: {detail}.", "server_name {host};"),
    Cause("NGINX_NOT_PROXYING", "The location that answers {path} does not pass it on: {detail}.", "proxy_pass https://{target};"),
    Cause("NGINX_NOT_RELOADED", "nginx runs an older configuration than the one on disk{detail}.", "nginx -t && nginx -s reload"),
    Cause(
        "NGINX_UNLIKE_REPLAY",
        "nginx fails, while the same request sent from this host past nginx works{detail}.",
        "tail -n 50 /var/log/nginx/error.log",
    ),
    Cause(
        "IDENTITY_BORROWED",
        "nginx sends a request for {host}{path} to {target} with the identity of another location: {detail}.",
        "upstream edge_other {{ server {target}; keepalive 16; }}  # one upstream for each SNI, client certificate, CA, verification",
    ),
    Cause(
        "UPSTREAM_IDENTITY_SHARED",
        "Locations reach the same upstream with different TLS identities, so one location uses sessions of another: {detail}.",
        "upstream edge_other {{ server {target}; keepalive 16; }}  # one upstream for each SNI, client certificate, CA, verification",
    ),
    Cause(
        "STALE_SNI_KEEPALIVE",
        "proxy_ssl_name varies by request while connections are kept alive, so a request can use another host's connection: {detail}.",
        "proxy_ssl_name {host};",
    ),
    Cause(
        "UPSTREAM_NOT_VERIFIED",
        "nginx does not verify the gateway's certificate (proxy_ssl_verify is off): anybody on the way can read the traffic.",
        "proxy_ssl_verify on; proxy_ssl_trusted_certificate /path/of/the/CA.crt; proxy_ssl_verify_depth 3;",
    ),
    Cause("NOT_TESTED", "It could not be tested: {detail}.", "ansible-doc edgemesh.nginx_istio.edge_probe"),
)

CAUSES: dict[str, Cause] = {cause.code: cause for cause in _TABLE}
