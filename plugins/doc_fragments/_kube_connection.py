# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of every module that talks to a Kubernetes API server. **PRIVATE** to the collection: it may change in any release."""

from __future__ import annotations


class ModuleDocFragment:
    """``extends_documentation_fragment: edgemesh.nginx_istio._kube_connection``."""

    DOCUMENTATION = r"""
options:
  kubeconfig:
    description:
      - Path of a kubeconfig file (several with V(:) between them), a kubeconfig as a dictionary, or its text.
      - Paths count on the host that runs the task. A file that Ansible Vault encrypts can be given as text with
        P(ansible.builtin.file#lookup).
      - Without it, and without O(context), O(host) and credentials, the service account of the pod that runs the task is
        used, then E(KUBECONFIG), then C(~/.kube/config).
      - Can also be set by E(K8S_AUTH_KUBECONFIG).
    type: raw
  context:
    description:
      - Name of a context of the kubeconfig; its current context by default.
      - Can also be set by E(K8S_AUTH_CONTEXT).
    type: str
  host:
    description:
      - URL of the API server.
      - Can also be set by E(K8S_AUTH_HOST).
    type: str
  api_key:
    description:
      - Bearer token.
      - Can also be set by E(K8S_AUTH_API_KEY).
    type: str
  username:
    description:
      - User name for HTTP basic authentication, which only a proxy in front of the API server may know.
      - Can also be set by E(K8S_AUTH_USERNAME).
    type: str
  password:
    description:
      - Password for HTTP basic authentication.
      - Can also be set by E(K8S_AUTH_PASSWORD).
    type: str
  validate_certs:
    description:
      - Whether the API server's certificate is verified. It is unless the kubeconfig says otherwise.
      - Can also be set by E(K8S_AUTH_VALIDATE_CERTS) or E(K8S_AUTH_VERIFY_SSL).
    type: bool
    aliases: [verify_ssl]
  x509_strict:
    description:
      - Whether certificates must follow RFC 5280 to the letter. Python does so since 3.13, kubectl and earlier Pythons don't.
      - V(false) is the way out of C(CA cert does not include key usage extension) and its like; certificates stay verified.
      - Can also be set by E(K8S_AUTH_X509_STRICT).
    type: bool
  ca_cert:
    description:
      - File with the CA certificates that the API server's certificate is verified against.
      - Can also be set by E(K8S_AUTH_CA_CERT) or E(K8S_AUTH_SSL_CA_CERT).
    type: path
    aliases: [ssl_ca_cert]
  client_cert:
    description:
      - File with a client certificate.
      - Can also be set by E(K8S_AUTH_CLIENT_CERT) or E(K8S_AUTH_CERT_FILE).
    type: path
    aliases: [cert_file]
  client_key:
    description:
      - File with the key of O(client_cert).
      - Can also be set by E(K8S_AUTH_CLIENT_KEY) or E(K8S_AUTH_KEY_FILE).
    type: path
    aliases: [key_file]
  proxy:
    description:
      - URL of an HTTP or SOCKS proxy on the way to the API server.
      - Can also be set by E(K8S_AUTH_PROXY).
    type: str
  no_proxy:
    description:
      - Hosts, domains and networks, with commas between them, that are reached without the proxy.
      - Can also be set by E(K8S_AUTH_NO_PROXY).
    type: str
  proxy_headers:
    description:
      - Headers for the proxy.
    type: dict
    suboptions:
      proxy_basic_auth:
        description:
          - User name and password for the proxy, with a colon between them.
          - Can also be set by E(K8S_AUTH_PROXY_HEADERS_PROXY_BASIC_AUTH).
        type: str
      basic_auth:
        description:
          - User name and password, with a colon between them.
          - Can also be set by E(K8S_AUTH_PROXY_HEADERS_BASIC_AUTH).
        type: str
      user_agent:
        description:
          - The user agent.
          - Can also be set by E(K8S_AUTH_PROXY_HEADERS_USER_AGENT).
        type: str
  persist_config:
    description:
      - Whether renewed tokens (OIDC) are written back to the kubeconfig file.
      - Can also be set by E(K8S_AUTH_PERSIST_CONFIG).
    type: bool
  impersonate_user:
    description:
      - User to act as.
      - Can also be set by E(K8S_AUTH_IMPERSONATE_USER).
    type: str
  impersonate_groups:
    description:
      - Groups to act as a member of.
      - Can also be set by E(K8S_AUTH_IMPERSONATE_GROUPS), with commas between them.
    type: list
    elements: str
requirements:
  - kubernetes >= 24.2.0 (Python library; it loads configuration and credentials, but for the plainest kubeconfigs)
  - urllib3
  - PyYAML
notes:
  - Options and variables are named as in P(kubernetes.core.k8s#module), and can be set for all modules at once with
    C(module_defaults) and C(group/edgemesh.nginx_istio.k8s).
  - Requests that fail for a passing reason (429, 5xx, a broken connection) are repeated within the task's C(timeout).
"""
