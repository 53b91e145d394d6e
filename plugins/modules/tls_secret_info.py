#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: edgemesh maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What Secrets' certificates are, and whether they are fit for their use."""

from __future__ import annotations

DOCUMENTATION = r"""
module: tls_secret_info
short_description: Return the certificates in Secrets, check that they fit their use, and wait until they do
version_added: 0.1.0
author: edgemesh maintainers (@edgemesh)
description:
  - Reads Secrets and ConfigMaps with certificates, by name, by label or by namespace, many in one task, and returns facts about every
    certificate, its present and future faults, and whether it is fit for each requested use. Never a key.
  - Understands C(kubernetes.io/tls), C(nginx.org/ca), C(Opaque) with C(tls.crt), C(tls.key), C(ca.crt) or C(cert), C(key), C(cacert),
    Istio's separate C(<name>-cacert), and ConfigMaps with a CA.
  - Can wait until they are present, fit or changed. The content ends a wait, not the existence.
options:
  secrets:
    description: Objects by name. A missing object is an error only with O(wait).
    type: list
    elements: dict
    default: []
    suboptions:
      namespace:
        description: Namespace.
        type: str
        required: true
      name:
        description: Name.
        type: str
        required: true
      kind:
        description: Kind.
        type: str
        choices: [Secret, ConfigMap]
        default: Secret
      uses:
        description: The uses that it must fit, if they differ from O(uses).
        type: list
        elements: dict
        suboptions: &uses
          use:
            description:
              - V(server) to be presented by a server, V(client) by a client, V(ca) to verify others by.
              - For V(ca) beside another use the CA is that of the Secret C(<name>-cacert), where there is one, else of the object itself,
                as Istio has it.
            type: str
            choices: [server, client, ca]
            required: true
          names:
            description: Names that the certificate must cover; DNS names, addresses, URIs.
            type: list
            elements: str
          reader:
            description: The program whose rules decide; both if left out.
            type: str
            choices: [nginx, envoy]
      entries:
        description: Names of the entries, if they aren't the usual ones.
        type: dict
        suboptions:
          certificate:
            description: Entry with the certificate and its chain.
            type: str
          key:
            description: Entry with the key.
            type: str
          ca:
            description: Entry with the CA.
            type: str
      ca:
        description:
          - The object with the CA by which peers verify this certificate. The chain is then judged by it.
          - Without it the chain is compared with the CA in the same object, and what does not fit is only a warning, because that
            may be the CA for its peers.
        type: dict
        suboptions:
          namespace:
            description: Namespace, if another.
            type: str
          name:
            description: Name.
            type: str
            required: true
          kind:
            description: Kind.
            type: str
            choices: [Secret, ConfigMap]
            default: Secret
      fingerprint:
        description:
          - For O(until=changed), the RV(results[].fingerprint) of an earlier result, or the C(sha256) of its certificate.
        type: str
  select:
    description: Objects by label and namespace. Those without certificates are left out.
    type: list
    elements: dict
    default: []
    suboptions:
      namespace:
        description: Namespace; all if left out.
        type: str
      labels:
        description: Label selector, such as V(app=web,tier!=test); all if left out.
        type: str
      kind:
        description: Kind.
        type: str
        choices: [Secret, ConfigMap]
        default: Secret
      uses:
        description: The uses that they must fit, if they differ from O(uses).
        type: list
        elements: dict
        suboptions: *uses
  uses:
    description:
      - The uses that all objects must fit, unless an entry has its own. Without any, a certificate is judged for the use that it
        itself declares.
    type: list
    elements: dict
    suboptions: *uses
  soon:
    description: Warn when a certificate expires in fewer days (and less than a third of its validity is left).
    type: int
    default: 7
  wait:
    description: Whether to wait for O(until).
    type: bool
    default: false
  until:
    description:
      - The state to wait for, of all requested objects; O(select) must find at least one.
      - V(present) it exists, and no entry is missing or empty. V(fit) it is fit for every use. V(changed) it is fit, and differs from
        the object with C(fingerprint).
    type: str
    choices: [present, fit, changed]
    default: fit
  timeout:
    description: Seconds for the whole task.
    type: int
    default: 120
extends_documentation_fragment:
  - edgemesh.nginx_istio._attributes
  - edgemesh.nginx_istio._attributes.read_only
  - edgemesh.nginx_istio._kube_connection
attributes:
  check_mode:
    details: Changes nothing in any mode. In check mode it does not wait, because an earlier task may only have predicted its changes.
notes:
  - Needs C(get) on the Secrets (and ConfigMaps), C(list) for O(select), and C(list) and C(watch) to wait; ready to apply in
    C(docs/rbac/tls_secret_info.yaml). Rights to single names are enough for up to 8 names in a namespace. Without C(watch) it polls
    every 2 seconds instead, and warns; without C(get) or C(list) it fails at once with the Role to apply in C(error.role).
  - 1000 Secrets by label take 2 requests and 6.5 seconds, a whole play on two busy cores (C(tests/bench/bench_tls_secrets.py)).
requirements:
  - cryptography >= 42
  - pyOpenSSL >= 24
seealso:
  - module: edgemesh.nginx_istio.tls_secret
  - module: edgemesh.nginx_istio.tls_secret_export
"""

EXAMPLES = r"""
- name: Wait until cert-manager has issued the gateway's certificate
  edgemesh.nginx_istio.tls_secret_info:
    secrets:
      - namespace: istio-system
        name: edge-shop
        uses: [{use: server, names: [shop.example.com], reader: envoy}]
    wait: true
  delegate_to: localhost
  run_once: true

- name: Wait until it has been renewed
  edgemesh.nginx_istio.tls_secret_info:
    secrets:
      - namespace: istio-system
        name: edge-shop
        fingerprint: "{{ before.results[0].fingerprint }}"
    wait: true
    until: changed
  delegate_to: localhost
  run_once: true

- name: Which certificates of the shop expire within 30 days?
  edgemesh.nginx_istio.tls_secret_info:
    select: [{labels: app=shop}]
    soon: 30
  delegate_to: localhost
  run_once: true
  register: shop

- name: Show those about which there is something to say
  ansible.builtin.debug:
    msg: "{{ shop.results | rejectattr('findings', 'equalto', []) | map(attribute='name') }}"
"""

RETURN = r"""
results:
  description: One element for each object, those of O(secrets) in order, then those of O(select) by namespace and name.
  returned: success; on time-out as C(error.results), beside C(error.missing)
  type: list
  elements: dict
  contains:
    kind: {description: Its kind., type: str, returned: always}
    namespace: {description: Its namespace., type: str, returned: always}
    name: {description: Its name., type: str, returned: always}
    found: {description: Whether it is there., type: bool, returned: always}
    type: {description: The Secret's type., type: str, returned: always, sample: kubernetes.io/tls}
    resource_version: {description: Its version in the API., type: str, returned: always}
    fit: {description: Whether it is there and fit for every use., type: bool, returned: always}
    uses:
      description: Each use with C(use), C(names), C(reader), C(fit), and C(why) it is not, in sentences.
      type: list
      elements: dict
      returned: always
      sample: [{use: server, names: [shop.example.com], reader: envoy, fit: true, why: []}]
    findings:
      description: Faults, present (C(severity) error) or future (warning). Each has a C(code), a C(severity), a C(sentence) and a C(fix).
      type: list
      elements: dict
      returned: always
      sample: [{code: CERT_EXPIRES_SOON, severity: warning, sentence: CN=shop expires at 2026-11-24T09:30:00Z., fix: Renew it}]
    entries:
      description: Which entry holds the C(certificate), C(key) and C(ca).
      type: dict
      returned: always
      sample: {certificate: tls.crt, key: tls.key}
    certificate:
      description:
        - Facts of the first certificate, null where there is none.
        - Subject, issuer, names, dates, usages, key type, fingerprints of certificate (C(sha256)) and key (C(spki_sha256)), and more.
      type: dict
      returned: always
      sample:
        subject: CN=shop.example.com
        issuer: CN=edge-ca 2026-11-21
        sans: ["DNS:shop.example.com"]
        not_after: "2027-02-19T09:30:00Z"
        extended_key_usage: [serverAuth]
        sha256: 5f0c6e...
    chain: {description: The same of the certificates behind it., type: list, elements: dict, returned: always}
    ca: {description: The same of the CA certificates., type: list, elements: dict, returned: always}
    ca_from:
      description: The object that holds them.
      type: str
      returned: always
      sample: Secret istio-system/edge-shop-cacert
    key:
      description: The key's C(type), C(size) and C(curve), and whether it C(matches) the first certificate. Null where there is none.
      type: dict
      returned: always
      sample: {type: ecdsa, size: 256, curve: secp256r1, matches: true}
    fingerprint:
      description: SHA-256 over all certificates and the public key; a change of any of them changes it.
      type: str
      returned: always
    expires:
      description: When the first of all certificates expires; empty where there is none.
      type: str
      returned: always
      sample: "2027-02-19T09:30:00Z"
"""

from typing import Any

from ..module_utils._ansible import run, warned
from ..module_utils._kube.arguments import CONNECTION_ARGUMENTS
from ..module_utils._kube.connection import connect
from ..module_utils._secrets.tls_secret_info import Info
from ..module_utils._x509 import library

KIND = {"type": "str", "choices": ["Secret", "ConfigMap"], "default": "Secret"}
USES = {
    "type": "list",
    "elements": "dict",
    "options": {
        "use": {"type": "str", "choices": ["server", "client", "ca"], "required": True},
        "names": {"type": "list", "elements": "str"},
        "reader": {"type": "str", "choices": ["nginx", "envoy"]},
    },
}
ARGUMENTS: dict[str, Any] = {
    **CONNECTION_ARGUMENTS,
    "secrets": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "no_log": False,
        "options": {
            "namespace": {"type": "str", "required": True},
            "name": {"type": "str", "required": True},
            "kind": KIND,
            "uses": USES,
            "entries": {"type": "dict", "options": {name: {"type": "str", "no_log": False} for name in ("certificate", "key", "ca")}},
            "ca": {"type": "dict", "options": {"namespace": {"type": "str"}, "name": {"type": "str", "required": True}, "kind": KIND}},
            "fingerprint": {"type": "str"},
        },
    },
    "select": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {"namespace": {"type": "str"}, "labels": {"type": "str"}, "kind": KIND, "uses": USES},
    },
    "uses": USES,
    "soon": {"type": "int", "default": 7},
    "wait": {"type": "bool", "default": False},
    "until": {"type": "str", "choices": ["present", "fit", "changed"], "default": "fit"},
    "timeout": {"type": "int", "default": 120},
}


def work(module: Any, params: dict[str, Any]) -> dict[str, Any]:
    """Look, or wait and look."""
    library.require()
    info = Info(params, check=module.check_mode)
    client = connect(params)
    with warned(module, client):
        return {"changed": False, "results": info.look(client)}


def main() -> None:
    """Entry point."""
    run(work, argument_spec=ARGUMENTS)


if __name__ == "__main__":
    main()
