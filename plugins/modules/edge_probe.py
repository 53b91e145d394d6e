#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Probe paths from the host where they matter; see DOCUMENTATION."""

from __future__ import annotations

DOCUMENTATION = r"""
module: edge_probe
short_description: Probe paths phase by phase from the host that uses them, and name the cause of a fault
version_added: "0.1.0"
description:
  - Connects from the host that the task runs on, with only the standard library of its Python, and tests each path phase by
    phase. The phases are C(dns), C(tcp), C(proxy_protocol), C(tls_handshake), C(tls_first_read), C(http) and C(policy).
  - It sends exactly the given requests, so it can imitate an nginx, or a client that must be refused. It follows no
    redirect. It always reads after the handshake, because in TLS 1.3 a server refuses a client certificate only then.
  - The host verifies nothing itself. The controller judges the observations by the rules of nginx and by
    those of Envoy, which differ.
  - A fault has a stable code, one sentence that explains it and one line that corrects it. All codes are explained in
    the collection's C(docs/causes.md).
options:
  paths:
    description: The paths to probe; several at a time, results in this order.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: A name for the path, unique in this list.
        type: str
        required: true
      address:
        description: The address to connect to (IPv4, or IPv6 with or without brackets), or a name that this host resolves.
        type: str
        required: true
      port:
        description: The port to connect to.
        type: int
        required: true
      proxy_protocol:
        description: Send a PROXY protocol header of this version first. It has the real addresses of the connection.
        type: str
        choices: [v1, v2]
      tls:
        description: Settings of TLS. Plain text if left out.
        type: dict
        suboptions:
          sni:
            description:
              - The server name to send. V("") sends none.
              - By default O(paths[].tls.verify_name), else the name in O(paths[].http.host), else O(paths[].address) if it is a name.
            type: str
          verify_name:
            description: The name that the server's certificate must be for. By default the server name that is sent.
            type: str
          ca_file:
            description:
              - Trusted certificates, as a file on the probing host (the one that nginx there uses).
              - Without O(paths[].tls.ca_file) and O(paths[].tls.ca_pem) the chain is shown but not judged.
            type: path
          ca_pem:
            description: Trusted certificates as PEM text. Wins over O(paths[].tls.ca_file).
            type: str
          rules:
            description:
              - The program whose rules decide on the server's chain. Both verdicts are always returned.
              - V(none) ignores both.
            type: str
            choices: [nginx, envoy, none]
            default: nginx
          verify_depth:
            description: nginx's C(proxy_ssl_verify_depth), the most intermediate certificates that it follows. Not limited by default.
            type: int
          client:
            description: The client certificate to show. None by default.
            type: dict
            suboptions:
              cert_file:
                description: PEM file on the probing host.
                type: path
              key_file:
                description: PEM file of its key on the probing host. Only the TLS library reads it.
                type: path
              foreign:
                description:
                  - Show a certificate that is good in every respect, but signed by an unknown CA. It is made for this task,
                    kept in memory, and removed after it.
                type: bool
                default: false
          alpn:
            description: Application protocols to offer. None by default, as nginx does towards upstreams.
            type: list
            elements: str
            default: []
          min_version:
            description: Lowest TLS version to offer. By default what this host's TLS library offers.
            type: str
            choices: ["1.0", "1.1", "1.2", "1.3"]
          max_version:
            description: Highest TLS version to offer.
            type: str
            choices: ["1.0", "1.1", "1.2", "1.3"]
      http:
        description: The request to send. When it is left out the probe ends after the connection (with TLS, after the first read).
        type: dict
        suboptions:
          version:
            description:
              - The HTTP version to speak. V(2) needs a curl with HTTP/2 on the probing host; without one the phase is
                C(not_tested).
            type: str
            choices: ["1.0", "1.1", "2"]
            default: "1.1"
          method:
            description: The method.
            type: str
            default: GET
          path:
            description: Path and query.
            type: str
            default: /
          host:
            description: The Host header. V("") sends none. By default the server name that is sent, else address and port.
            type: str
          headers:
            description:
              - Further headers. C(Connection), C(User-Agent) and C(Accept) replace the probe's own (C(close), C(edgemesh-probe),
                C(*/*)); an empty value leaves a header out.
              - They are shown in verbose output, so put no secret here.
            type: dict
            default: {}
          after:
            description:
              - Requests that are sent first, in this order over the same connection, so that the same worker of an nginx answers them.
                Each answer is read and not judged. The request itself can then use the sessions and connections that they opened.
              - Needs HTTP/1.1. If the connection does not survive them, the phase is C(not_tested).
            type: list
            elements: dict
            default: []
            suboptions:
              method:
                description: The method.
                type: str
                default: HEAD
              path:
                description: Path and query.
                type: str
                default: /
              host:
                description: The Host header. By default that of the request itself.
                type: str
      consecutive:
        description: Number of expected results in a row, each over a new connection.
        type: int
        default: 1
      in_turn:
        description:
          - Probe it after all others, one at a time in the order of the list. Such a probe tests the state that an earlier one left, in
            a proxy's kept connections for example. O(wait) doesn't apply to it.
        type: bool
        default: false
      expect:
        description: The expected result. By default an answer with a status from 200 to 399, and a trusted chain.
        type: dict
        suboptions:
          status:
            description: The expected statuses, each as a number (V(418)) or a range (V(200-499)).
            type: list
            elements: str
            default: []
          http_version:
            description: The version that the answer must have.
            type: str
            choices: ["1.0", "1.1", "2"]
          body_contains:
            description: Text that the body must contain.
            type: str
          body_json:
            description: Values that the body, as JSON, must have, by dotted path, for example C(headers.Host.0).
            type: dict
            default: {}
          headers:
            description: Regular expressions that headers of the answer must match; V(null) for a header that must be absent.
            type: dict
            default: {}
          tls_version:
            description: The TLS version that must have been agreed on.
            type: str
            choices: ["1.0", "1.1", "1.2", "1.3"]
          certificate_requested:
            description: Whether the server must ask for a client certificate.
            type: bool
          leaf_sha256:
            description: The SHA-256 fingerprint of the certificate that the server must show, in hexadecimal, with or without colons.
            type: str
          refused:
            description:
              - The other side must refuse. Without O(paths[].expect.codes) and O(paths[].expect.phase) only the other side's own
                refusal in the TLS phases, or the end of the connection in place of an answer, counts. A dead port or silence never
                does.
            type: bool
            default: false
          phase:
            description: The phases in which the refusal may show.
            type: list
            elements: str
            choices: [dns, tcp, proxy_protocol, tls_handshake, tls_first_read, http, policy]
            default: []
          codes:
            description: The expected cause codes, of which one must be found, for example C(CLIENT_CERT_MISSING).
            type: list
            elements: str
            default: []
  attempt_timeout:
    description: Seconds for one attempt on one path.
    type: int
    default: 10
  timeout:
    description: Seconds for the whole task. Probes that it cuts off are C(not_tested), which is never C(ok).
    type: int
    default: 120
  wait:
    description:
      - Whether a path is tried again until it gives the expected result O(paths[].consecutive) times in a row.
        Certificates are judged after that, on the last observation.
    type: bool
    default: false
  wait_timeout:
    description: Seconds for which O(wait) tries a path again.
    type: int
    default: 30
  concurrency:
    description: Number of paths that are probed at the same time.
    type: int
    default: 8
  fail:
    description: Whether the task fails if a path is not C(ok).
    type: bool
    default: true
  foreign_certificate:
    description: Not for users; the module sets it.
    type: str
notes:
  - Runs on the controller and on the host. The host needs Python 3.9 or later and nothing else (curl for HTTP/2). The controller needs
    the Python libraries C(cryptography) and C(pyOpenSSL).
  - It needs no access to Kubernetes, so no RBAC.
  - Client certificates and CA files are read as the user that the task runs as; nginx reads them as root, so use C(become).
  - Cookies that an answer sets are not returned. At most 64 KiB of an answer's body are.
extends_documentation_fragment:
  - edgemesh.nginx_istio._attributes
  - edgemesh.nginx_istio._attributes.read_only
author:
  - edgemesh maintainers (@edgemesh)
"""

EXAMPLES = r"""
- name: Does the gateway answer over verified TLS, seen from the VM?
  edgemesh.nginx_istio.edge_probe:
    paths:
      - name: shop
        address: 198.18.0.1
        port: 30443
        tls: {sni: shop.example.com, ca_file: /etc/edgemesh/tls/edgemesh/edge-ca/ca.crt}
        http: {path: /status/418}
        expect: {status: 418}

- name: Does it refuse who has no client certificate, and who has a foreign one?
  edgemesh.nginx_istio.edge_probe:
    paths:
      - name: shop without a client certificate
        address: 198.18.0.1
        port: 30443
        tls: {sni: shop.example.com}
        expect: {refused: true, codes: [CLIENT_CERT_MISSING]}
      - name: shop with a foreign client certificate
        address: 198.18.0.1
        port: 30443
        tls: {sni: shop.example.com, client: {foreign: true}}
        expect: {refused: true, codes: [CLIENT_CERT_UNTRUSTED]}

- name: Wait until every connection gets the new certificate
  edgemesh.nginx_istio.edge_probe:
    wait: true
    wait_timeout: 60
    paths:
      - name: shop
        address: shop.example.com
        port: 443
        consecutive: 10
        tls: {sni: shop.example.com}
        expect: {leaf_sha256: "{{ new_certificate.sha256 }}"}
"""

RETURN = r"""
ok:
  description: Whether every path is as expected.
  type: bool
  returned: always
python:
  description: Version of Python and of its TLS library on the probing host.
  type: str
  returned: always
results:
  description: One entry for each path, in order.
  type: list
  elements: dict
  returned: always
  contains:
    name:
      description: The path's name.
      type: str
    ok:
      description: Whether it is as expected.
      type: bool
    vantage:
      description: The host from which it was probed.
      type: str
    source:
      description: The host's own address from which it connected; empty where there was no connection.
      type: str
    target:
      description: Where it connected, C(address:port).
      type: str
    phase:
      description: The phase in which the cause shows; without one the last phase reached.
      type: str
    code:
      description: The cause's code, also of a refusal that was expected; empty where there is none.
      type: str
    sentence:
      description: Why, in one sentence.
      type: str
    fix:
      description: One line that corrects it.
      type: str
    doc:
      description: Place of its explanation in the collection's documentation.
      type: str
    observed:
      description: What was seen, short.
      type: str
    expected:
      description: What was expected, short.
      type: str
    sent:
      description:
        - The sent values that decide the outcome, C(sni), C(verify_name), C(ca), C(client_certificate), C(http_version), C(host), C(path).
      type: dict
    started:
      description: When the probe began (ISO 8601, UTC).
      type: str
    attempts:
      description: How many connections were made for it.
      type: int
    times:
      description: Milliseconds that each phase took.
      type: dict
      sample: {dns: 0.1, tcp: 0.3, tls_handshake: 4.2, http: 2.9}
    tls:
      description:
        - What the handshake showed. C(version), C(cipher), C(alpn); C(chain) as facts, leaf first, C(chain_complete) being false where
          this host's Python shows the leaf only; C(verify) with an empty text, or why not, for C(nginx) and C(envoy); C(unfit), what
          is wrong with the leaf even for those who trust its issuer (expired, another name, no server's certificate);
          C(certificate_requested) (null where it can't be told) and the C(authorities) named with that; C(alert), the number of the
          alert received.
      type: dict
    http:
      description:
        - The answer. C(status), C(version), C(headers) with names in lower case, C(body), C(truncated); C(before), the statuses of the
          requests in O(paths[].http.after).
      type: dict
    checks:
      description:
        - Every check that was made, with C(check), C(status) (C(ok), C(failed), C(skipped) or C(not_tested)), C(observed), C(expected)
          and C(code).
      type: list
      elements: dict
"""

import platform
import ssl
from typing import Any

from ..module_utils import _ansible
from ..module_utils._errors import EdgeError
from ..module_utils._probe import edge_probe as run
from ..module_utils._probe import spec

ARGUMENTS = spec.OPTIONS


def work(_module: Any, params: dict[str, Any]) -> dict[str, Any]:
    """Probe from here; the action plugin judges."""
    try:
        paths = [spec.path(entry) for entry in params["paths"]]
    except ValueError as error:
        raise EdgeError("a path can't be probed", why=str(error)) from None
    observations = run.probe(
        paths,
        attempt_timeout=params["attempt_timeout"],
        timeout=params["timeout"],
        wait_timeout=params["wait_timeout"] if params["wait"] else 0,
        concurrency=params["concurrency"],
        foreign=params["foreign_certificate"],
    )
    return {
        "changed": False,
        "observations": observations,
        "ca_files": run.read_ca_files(paths),
        "python": f"{platform.python_version()}, {ssl.OPENSSL_VERSION}",
    }


def main() -> None:
    """Entry point."""
    _ansible.run(work, argument_spec=ARGUMENTS)


if __name__ == "__main__":
    main()
