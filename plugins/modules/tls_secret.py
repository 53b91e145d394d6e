#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: edgemesh maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Kubernetes Secrets with certificates and keys, issued by a private CA or brought from elsewhere."""

from __future__ import annotations

DOCUMENTATION = r"""
module: tls_secret
short_description: Kubernetes Secrets with certificates and keys, issued by a private CA or brought from elsewhere
version_added: "0.1.0"
author: edgemesh maintainers (@edgemesh)
description:
  - Makes Secrets in the form that their readers need (Istio's gateways, NGINX Ingress Controller, any reader of C(kubernetes.io/tls)).
  - A private CA, itself kept in a Secret, issues the certificates in this process; their keys go straight into the Secret and are
    never an Ansible value. Or they come from other Secrets, files, or PEM text.
  - Refuses material that its reader would refuse, before anything is written, and gives the reason.
  - A certificate is issued again only if I(renew_before) is reached or the entry has changed.
  - A CA is never replaced silently. If the CA is gone while certificates of it are still in the cluster, the task fails and makes no
    new CA. To replace a CA, roll it over (I(secrets[].issue.roll_over)).
  - A Secret without the label C(app.kubernetes.io/managed-by=edgemesh) is left alone, and so is one that has an owner, or whose content
    another field manager applies. An entry with neither I(issue) nor I(from)
    means that somebody else makes the Secret; it must exist and fit its use.
extends_documentation_fragment:
  - edgemesh.nginx_istio._attributes
  - edgemesh.nginx_istio._attributes.changes
  - edgemesh.nginx_istio._kube_connection
attributes:
  check_mode:
    details: Predicts the changes, even if the namespace, the CA or the source is only made in the same play.
  diff_mode:
    details: Shows names, dates and fingerprints; never a key or its encoding.
  idempotent:
    details: A second run changes nothing until a certificate is due.
options:
  secrets:
    description:
      - The Secrets. All are planned first; if some can't be delivered, none is changed, and the error names each of them.
      - Their order does not matter; a CA is made before the leaves that it issues.
      - With I(state=unneeded) these stay as they are.
    type: list
    elements: dict
    default: []
    suboptions:
      namespace:
        description: Namespace of the Secret. It must exist in a real run.
        type: str
        required: true
      name:
        description: Name of the Secret.
        type: str
        required: true
      kind:
        description: C(ConfigMap) for CA certificates, which are not secret; only I(for=gateway_ca) and I(for=nginx_ca).
        type: str
        choices: [Secret, ConfigMap]
        default: Secret
      for:
        description:
          - The reader of the Secret. It decides the Secret's type and entries.
          - C(gateway) is a credential of an Istio Gateway (C(kubernetes.io/tls)). It belongs into the namespace of the gateway's pods.
          - C(gateway_ca) is the CA with which a gateway verifies clients (C(Opaque) with C(cacert)); name it in the Gateway's
            C(caCertCredentialName) (a ConfigMap as C(configmap://<namespace>/<name>)), or call it C(<credential>-cacert).
          - C(nginx_ca) is a CA for NGINX Ingress Controller (C(nginx.org/ca) with C(ca.crt)).
          - C(iks_alb) is the client certificate and CA of the legacy ALB of IBM Cloud Kubernetes Service, for TLS backends (C(Opaque) with
            C(client.crt), C(client.key) and C(trusted.crt)).
          - C(tls) is a plain C(kubernetes.io/tls) Secret.
          - C(ca) is a CA with its key (C(kubernetes.io/tls) with C(ca.crt)).
          - The default is C(ca) where I(issue.usage) is C(ca), else C(tls).
        type: str
        choices: [gateway, gateway_ca, nginx_ca, iks_alb, tls, ca]
      issue:
        description: The certificate to issue. Exclusive with I(from).
        type: dict
        suboptions:
          usage:
            description: The certificate's use. C(ca) makes a self-signed private CA that signs leaves only.
            type: str
            choices: [server, client, ca]
          ca:
            description: The Secret of the CA that issues it. Required for leaves.
            type: dict
            suboptions:
              namespace: {description: Its namespace., type: str, required: true}
              name: {description: Its name., type: str, required: true}
              folder: {description: The folder of its key when that is not in the Secret., type: path}
          names:
            description:
              - Subject alternative names of a leaf, which are DNS names (C(*.example.com) too), addresses and URIs. Required for leaves
                without I(users).
            type: list
            elements: str
          common_name:
            description: Common name of the subject. Default for leaves the first DNS name, for CAs the Secret's name and the date.
            type: str
          days:
            description: How long it is valid; a leaf ends with its CA at the latest. Default 90 for leaves, 3650 for CAs.
            type: int
          renew_before:
            description: A leaf is renewed when fewer days are left. Default a third of I(days).
            type: int
          key_type:
            description: C(ecdsa) is P-256 and the default, C(rsa) 2048 bits. An existing CA with another key type is refused.
            type: str
            choices: [ecdsa, rsa]
          folder:
            description:
              - Keep a CA's key in this folder of the host that runs the module, as C(<name>.pem) with mode C(0600), instead of in the
                Secret, which then holds only the CA's certificates (C(ca.crt)).
              - For command-line use. A job in a new container (AWX) does not find the folder again; keep the key in the Secret there.
            type: path
          roll_over:
            description:
              - One step from a CA to its successor, while leaves of both are trusted. A finished step changes nothing.
              - C(add) makes the successor and adds it to the trusted certificates (C(ca.crt)); the old CA goes on signing.
              - C(switch) lets the successor sign, so leaves are issued again. Refused while a copy of the CA's certificates that is
                known in the cluster lacks the successor.
              - C(finish) no longer trusts the old CA. Refused while a leaf of it is known in the cluster.
              - C(cancel) undoes C(add).
              - Between the steps all users of the CA and of its leaves must be updated, in the cluster and on hosts;
                playbook C(edgemesh.nginx_istio.roll_over) does all of it.
            type: str
            choices: [add, switch, finish, cancel]
      from:
        description: The source of the material. Exactly one of the suboptions.
        type: dict
        suboptions:
          secret:
            description: Another Secret, in any namespace, of any type.
            type: dict
            suboptions:
              namespace: {description: Its namespace., type: str, required: true}
              name: {description: Its name., type: str, required: true}
              certificate:
                description: Entry with the certificate chain. Default C(tls.crt), else C(cert).
                type: str
              key:
                description: Entry with the key. Default C(tls.key), else C(key).
                type: str
              ca:
                description: Entry with the CA. Default C(cacert), else C(ca.crt).
                type: str
          files:
            description: PEM files on the host that runs the module, which is usually the controller.
            type: dict
            suboptions:
              certificate: {description: The chain with the leaf first., type: path}
              key: {description: The key., type: path}
              ca: {description: The CA certificates., type: path}
          pem:
            description: PEM text. Prefer the other two; text passes through variables.
            type: dict
            suboptions:
              certificate: {description: The chain with the leaf first., type: str}
              key: {description: The key., type: str}
              ca: {description: The CA certificates., type: str}
      expect:
        description: The use for which material I(from) elsewhere, or somebody else's Secret, must be fit.
        type: dict
        suboptions:
          usage:
            description: The presenter of the certificate. The default is C(server) for a gateway, else the certificate's own usage.
            type: str
            choices: [server, client]
          names:
            description: Names that it must cover.
            type: list
            elements: str
      users:
        description:
          - The routes of I(route_list) that need the Secret, each with the names that it needs; none for a copy of CA certificates. A key
            C("") is the list as a whole. Only for what is issued, or copied with I(from.secret).
          - An annotation keeps them. Users that this run does not speak of stay, and the certificate is valid for the names of all of them.
            It is issued again when a name is missing; a name that only a gone user needed goes with the next issue.
          - A Secret whose users are of another list is refused (C(OTHER_LIST)), and so is a change of its type, use or source while routes
            need it that are not listed here (C(USED_OTHERWISE)).
          - A Secret of ours without the annotation belongs to the list of its label, else to C(default). Its unknown users keep the names
            of its certificate until I(route_list.exclusive).
        type: dict
      include_ca:
        description:
          - Put the CA in as C(ca.crt) as well.
          - Istio takes a C(ca.crt) in a C(gateway) Secret for the CA of clients, unless there is a Secret C(<name>-cacert).
        type: bool
        default: false
      ca:
        description: Secret with the CA certificates, if the source has none or others.
        type: dict
        suboptions:
          namespace: {description: Its namespace., type: str, required: true}
          name: {description: Its name., type: str, required: true}
      labels:
        description: Labels to put on the Secret, besides ours.
        type: dict
        default: {}
      annotations:
        description: Annotations to put on the Secret.
        type: dict
        default: {}
      adopt:
        description: Take over (or with I(state=absent) delete) a Secret that is not ours.
        type: bool
        default: false
      keep_foreign:
        description: Use an existing Secret that is not ours, without a change, if it is fit for its use. By default it is refused.
        type: bool
        default: false
  route_list:
    description: The list of routes that I(users) are of, and what happens to its other users.
    type: dict
    suboptions:
      name: {description: Its name., type: str, default: default}
      present:
        description: Routes that the run makes. They no longer need a Secret of which they are not among the I(users).
        type: list
        elements: str
        default: []
      absent: {description: Routes that go., type: list, elements: str, default: []}
      exclusive: {description: Whether all routes of the list go that are not in I(route_list.present)., type: bool, default: false}
      all_lists: {description: With I(state=unneeded) whether the users of all lists go., type: bool, default: false}
  state:
    description:
      - C(absent) deletes the listed Secrets; only I(namespace), I(name) and I(adopt) count then.
      - C(unneeded) takes the users that go with I(route_list) from all Secrets of role C(private_ca) in I(namespaces), except those in
        I(secrets), and deletes the Secrets whose last user goes.
    type: str
    choices: [present, absent, unneeded]
    default: present
  namespaces:
    description: Where I(state=unneeded) looks. One in which Secrets may not be listed is skipped with a warning.
    type: list
    elements: str
    default: []
  authorities:
    description:
      - CAs that I(state=unneeded) deletes as well. Refused (C(CA_IN_USE)) while a Secret remains that they signed, or that holds a copy of
        their certificates.
    type: list
    elements: dict
    default: []
    suboptions:
      namespace: {description: Its namespace., type: str, required: true}
      name: {description: Its name., type: str, required: true}
  check:
    description: C(strict) refuses material that its reader would refuse; C(warn) writes it and warns.
    type: str
    choices: [strict, warn]
    default: strict
  timeout:
    description: Seconds for the whole task; requests that may still succeed are repeated until then.
    type: int
    default: 120
notes:
  - Needs the RBAC verbs C(get), C(list), C(create), C(update) and C(delete) on C(secrets) (and C(configmaps) where I(kind) says so) in the
    namespaces that are written, and C(get) in those of the CA and of sources; as a ready Role in C(docs/rbac/tls_secret.yaml).
  - RV(emptied) needs C(list) on C(serviceaccounts), C(services), C(pods) and C(persistentvolumeclaims) as well.
  - C(list) finds the certificates of a CA before it is made or rolled over, and reads names and annotations only. If
    it is allowed in the whole cluster, the whole cluster is searched, else the namespaces of this task.
  - A leaf's annotation C(edgemesh.nginx-istio/issuer) names its CA's Secret; a copy's C(edgemesh.nginx-istio/source) and
    C(edgemesh.nginx-istio/source-version) its source. C(edgemesh.nginx-istio/needed-by) names its users.
  - Runs at the same time, also of one list, lose none of each other's users; a Secret that changed meanwhile is read and planned again.
requirements:
  - kubernetes
  - cryptography >= 42
  - pyOpenSSL >= 24
seealso:
  - module: edgemesh.nginx_istio.tls_secret_export
"""

EXAMPLES = r"""
- name: A private CA, the gateway's certificate, nginx's client certificate, and the CA by which the gateway verifies it
  edgemesh.nginx_istio.tls_secret:
    secrets:
      - namespace: edgemesh
        name: edge-ca
        issue: {usage: ca}
      - namespace: istio-system
        name: edge-shop
        for: gateway
        issue: {ca: {namespace: edgemesh, name: edge-ca}, names: [shop.example.com]}
      - namespace: edgemesh
        name: edge-client
        issue: {usage: client, ca: {namespace: edgemesh, name: edge-ca}, names: [edge.example.com]}
      - namespace: istio-system
        name: edge-shop-cacert
        for: gateway_ca
        from: {secret: {namespace: edgemesh, name: edge-ca}}
  delegate_to: localhost
  run_once: true

- name: Copy a Secret with names of its own into the gateway's namespace
  edgemesh.nginx_istio.tls_secret:
    secrets:
      - namespace: istio-system
        name: alb-certs
        for: gateway
        from: {secret: {namespace: default, name: bundle, certificate: server.pem, key: server-key.pem}}
        expect: {names: [shop.example.com]}

- name: What an IKS ALB shows to the mesh's gateway, and by which CA the gateway (of Secret nlb-certs) knows it
  edgemesh.nginx_istio.tls_secret:
    secrets:
      - namespace: istio-system
        name: alb-certs
        for: iks_alb
        from: {secret: {namespace: default, name: alb-of-iks}}
        ca: {namespace: edgemesh, name: edge-ca}
      - namespace: istio-system
        name: nlb-certs-cacert
        for: gateway_ca
        from: {secret: {namespace: istio-system, name: alb-certs, ca: trusted.crt}}

- name: A second CA beside the first
  edgemesh.nginx_istio.tls_secret:
    secrets:
      - {namespace: edgemesh, name: edge-ca, issue: {usage: ca, roll_over: add}}

- name: A client certificate that two routes share; others of the list stay
  edgemesh.nginx_istio.tls_secret:
    secrets:
      - namespace: edgemesh
        name: edge-client
        issue: {usage: client, ca: {namespace: edgemesh, name: edge-ca}}
        users: {shop: [edge.example.com], pay: [pay-client.example.com]}
    route_list: {name: team-a, present: [shop, pay]}

- name: Secrets that only route pay needed
  edgemesh.nginx_istio.tls_secret:
    state: unneeded
    route_list: {name: team-a, absent: [pay]}
    namespaces: [edgemesh, istio-system]

- name: A certificate from files
  edgemesh.nginx_istio.tls_secret:
    secrets:
      - {namespace: shop, name: web, from: {files: {certificate: web.crt, key: web.key}}}
"""

RETURN = r"""
removed:
  description: The deleted Secrets, in check mode those that a run would delete.
  returned: success
  type: list
  elements: str
  sample: [Secret istio-system/edge-shop]
emptied:
  description: Namespaces of I(authorities) in which nothing is left but what Kubernetes puts into each, as far as all of it may be listed.
  returned: success
  type: list
  elements: str
results:
  description:
    - One element for each entry of I(secrets), in order; with I(state=unneeded) for each Secret that loses a user, and for each of
      I(authorities).
  returned: success
  type: list
  elements: dict
  contains:
    namespace: {description: Namespace of the Secret., type: str, returned: always}
    name: {description: Name of the Secret., type: str, returned: always}
    kind: {description: C(Secret) or C(ConfigMap)., type: str, returned: always}
    for: {description: The reader., type: str, returned: always}
    action:
      description:
        - C(created), C(changed), C(recreated), C(unchanged), C(deleted) or C(absent).
        - In check mode C(would_create), C(would_change) or C(would_delete) instead.
      type: str
      returned: always
    changed: {description: Whether it was or would be written., type: bool, returned: always}
    why: {description: Reasons for the action., type: list, elements: str, returned: always}
    certificate:
      description:
        - Facts of the first certificate. C((known after apply)) where only the real run makes it; null where there is none.
      type: raw
      returned: always
      sample:
        subject: CN=shop.example.com
        issuer: CN=edge-ca 2026-11-21
        sans: ["DNS:shop.example.com"]
        not_after: "2027-02-19T09:30:00Z"
        sha256: 5f0c6e...
    findings:
      description: Faults, present and future. Each has a code, a severity, a sentence and a fix.
      type: list
      elements: dict
      returned: always
"""

from typing import Any

from ..module_utils._ansible import run
from ..module_utils._kube.arguments import CONNECTION_ARGUMENTS
from ..module_utils._kube.connection import connect
from ..module_utils._secrets import unneeded, users
from ..module_utils._secrets.arguments import REFERENCE, SOURCE
from ..module_utils._secrets.entries import Entry, entries, reference
from ..module_utils._secrets.tls_secret import Delivery
from ..module_utils._x509 import library

CA = {**REFERENCE, "folder": {"type": "path"}}
# hidden whole: somebody may give certificate and key in one
PEM = {name: {"type": "str", "no_log": True} for name in ("certificate", "key", "ca")}
FILES = {name: {"type": "path", "no_log": False} for name in ("certificate", "key", "ca")}
ISSUE = {
    "usage": {"type": "str", "choices": ["server", "client", "ca"]},
    "ca": {"type": "dict", "options": CA},
    "names": {"type": "list", "elements": "str"},
    "common_name": {"type": "str"},
    "days": {"type": "int"},
    "renew_before": {"type": "int"},
    "key_type": {"type": "str", "choices": ["ecdsa", "rsa"], "no_log": False},
    "folder": {"type": "path"},
    "roll_over": {"type": "str", "choices": ["add", "switch", "finish", "cancel"]},
}
SECRET = {
    **REFERENCE,
    "kind": {"type": "str", "choices": ["Secret", "ConfigMap"], "default": "Secret"},
    "for": {"type": "str", "choices": ["gateway", "gateway_ca", "nginx_ca", "iks_alb", "tls", "ca"]},
    "issue": {"type": "dict", "options": ISSUE},
    "from": {
        "type": "dict",
        "options": {
            "secret": {"type": "dict", "no_log": False, "options": SOURCE},
            "files": {"type": "dict", "options": FILES},
            "pem": {"type": "dict", "options": PEM},
        },
    },
    "expect": {
        "type": "dict",
        "options": {"usage": {"type": "str", "choices": ["server", "client"]}, "names": {"type": "list", "elements": "str"}},
    },
    "users": {"type": "dict"},
    "include_ca": {"type": "bool", "default": False},
    "ca": {"type": "dict", "options": REFERENCE},
    "labels": {"type": "dict", "default": {}},
    "annotations": {"type": "dict", "default": {}},
    "adopt": {"type": "bool", "default": False},
    "keep_foreign": {"type": "bool", "default": False},
}
ROUTE_LIST = {
    "name": {"type": "str", "default": "default"},
    "present": {"type": "list", "elements": "str", "default": []},
    "absent": {"type": "list", "elements": "str", "default": []},
    "exclusive": {"type": "bool", "default": False},
    "all_lists": {"type": "bool", "default": False},
}


ARGUMENTS: dict[str, Any] = {
    **CONNECTION_ARGUMENTS,
    "secrets": {"type": "list", "elements": "dict", "default": [], "options": SECRET, "no_log": True},
    "route_list": {"type": "dict", "options": ROUTE_LIST},
    "state": {"type": "str", "choices": ["present", "absent", "unneeded"], "default": "present"},
    "namespaces": {"type": "list", "elements": "str", "default": []},
    "authorities": {"type": "list", "elements": "dict", "default": [], "options": REFERENCE},
    "check": {"type": "str", "choices": ["strict", "warn"], "default": "strict"},
    "timeout": {"type": "int", "default": 120},
}


def work(module: Any, params: dict[str, Any]) -> dict[str, Any]:
    """Plan, write, and report facts."""
    library.require()
    state, said = params["state"], users.run_of(params["route_list"])
    listed = entries(params["secrets"], state)
    authorities = [reference(each) for each in params["authorities"]]
    client = connect(params)
    warnings: list[str] = []
    if state == "unneeded":
        kept = {*authorities, *(each.ref for each in listed)}
        found = unneeded.find(client, params["namespaces"], said, kept, warnings)
        listed = [*(Entry(each, "tls") for each in found), *(Entry(each, "ca", keep_foreign=True) for each in authorities)]
    delivery = Delivery(client, listed, run=said, check_mode=module.check_mode, lenient=params["check"] == "warn")
    plans = delivery.unneeded(authorities) if state == "unneeded" else delivery.present() if state == "present" else delivery.absent()
    gone = [each.entry.ref for each in plans if each.action == "deleted"]
    emptied = [each for each in dict.fromkeys(each.namespace for each in authorities) if unneeded.emptied(client, each, gone)]
    for warning in [*warnings, *delivery.warnings, *client.warnings]:
        module.warn(warning)
    return {
        "changed": any(each.changes for each in plans),
        "results": [each.result(module.check_mode) for each in plans],
        "removed": [each.title for each in gone],
        "emptied": emptied,
        "diff": [each.difference() for each in plans if each.changes],
    }


def main() -> None:
    """Run the module."""
    run(work, argument_spec=ARGUMENTS)


if __name__ == "__main__":
    main()
