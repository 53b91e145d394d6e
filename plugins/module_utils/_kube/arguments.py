# SPDX-License-Identifier: GPL-3.0-or-later
"""Options by which a module is told of a cluster, apart from what works with them: hosts without access to one know them too."""

from __future__ import annotations

from typing import Any

#: AnsibleModule's argument_spec of the options in the documentation fragment _kube_connection.
CONNECTION_ARGUMENTS: dict[str, Any] = {
    # As a dictionary it holds credentials: hidden whole here; _hidden.py makes all but the credentials visible again.
    "kubeconfig": {"type": "raw", "no_log": True},
    "context": {"type": "str"},
    "host": {"type": "str"},
    "api_key": {"type": "str", "no_log": True},
    "username": {"type": "str"},
    "password": {"type": "str", "no_log": True},
    "validate_certs": {"type": "bool", "aliases": ["verify_ssl"]},
    "x509_strict": {"type": "bool"},
    "ca_cert": {"type": "path", "aliases": ["ssl_ca_cert"]},
    "client_cert": {"type": "path", "aliases": ["cert_file"]},
    "client_key": {"type": "path", "aliases": ["key_file"], "no_log": False},
    "proxy": {"type": "str"},
    "no_proxy": {"type": "str"},
    "proxy_headers": {
        "type": "dict",
        "options": {
            "proxy_basic_auth": {"type": "str", "no_log": True},
            "basic_auth": {"type": "str", "no_log": True},
            "user_agent": {"type": "str"},
        },
    },
    "persist_config": {"type": "bool"},
    "impersonate_user": {"type": "str"},
    "impersonate_groups": {"type": "list", "elements": "str"},
}
