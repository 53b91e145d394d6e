# SPDX-License-Identifier: GPL-3.0-or-later
"""The plainest kubeconfigs, read without the ``kubernetes`` package, whose import costs a fifth of a second of a processor.

Imported once before Ansible starts its processes, it made a task alone 30 % dearer (0.69 to 0.89 s of a processor), and a converge without
changes 8 % (4.6 to 5.0 s), for what it imports and because every process is a copy of a larger one.

Plain means: one file, dictionary or text; a token, a token file or a client certificate; no proxy. For everything else, and for
everything that isn't quite right, the answer is None, and the package reads it, or says what is wrong with it.
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Optional

from .._loose import mapping, mappings

_CLUSTER = {"server", "certificate-authority", "certificate-authority-data", "insecure-skip-tls-verify", "tls-server-name", "extensions"}
_USER = {"token", "tokenFile", "client-certificate", "client-certificate-data", "client-key", "client-key-data"}
_PROXIES = ("http_proxy", "https_proxy", "all_proxy")

#: descriptors of files in memory, which are on no disk; one configuration is loaded at a time
_MEMORY: list[int] = []


@dataclass
class Configuration:
    """What we use of ``kubernetes.client.Configuration``, under the same names."""

    host: str = ""
    verify_ssl: bool = True
    ssl_ca_cert: Optional[str] = None
    ca_cert_data: Optional[str] = None
    cert_file: Optional[str] = None
    key_file: Optional[str] = None
    tls_server_name: Optional[str] = None
    api_key: dict[str, str] = field(default_factory=dict)
    refresh_api_key_hook: Any = None
    username: Optional[str] = None
    password: Optional[str] = None
    proxy: Optional[str] = None
    proxy_headers: Any = None

    def auth_settings(self) -> dict[str, dict[str, str]]:
        """The header that says who we are."""
        return {name: {"in": "header", "key": "authorization", "value": value} for name, value in self.api_key.items()}

    def get_basic_auth_token(self) -> str:
        """HTTP basic authentication."""
        return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode()


def may_be(options: Mapping[str, Any]) -> bool:
    """Whether nothing but a kubeconfig and credentials decides: no proxy, no pod's service account."""
    proxied = any(os.environ.get(name) for each in _PROXIES for name in (each, each.upper()))
    if proxied or options.keys() & {"proxy", "no_proxy", "proxy_headers"}:
        return False
    return "kubeconfig" in options or "context" in options or "KUBERNETES_SERVICE_HOST" not in os.environ


def from_file(path: str, context: Optional[str], folder: str) -> Optional[Configuration]:
    """A kubeconfig file; None unless it is plain."""
    path = os.path.expanduser(path)
    try:
        import yaml

        with open(path, encoding="utf-8") as file:
            content = yaml.load(file, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506, a safe loader
    except Exception:  # whatever it is, the package meets it too, and says so
        return None
    return from_content(content, context, folder, os.path.dirname(os.path.abspath(path)))


def from_content(content: Any, context: Optional[str], folder: str, base: str = "") -> Optional[Configuration]:
    """A kubeconfig's content; None unless it is plain.

    :param folder: where embedded certificates and keys are written if they can't be files in memory: Python's ssl reads only files.
    :param base: folder that relative paths start from.
    """
    content = mapping(content)
    chosen = _named(content, "contexts", context or content.get("current-context"), "context")
    cluster = _named(content, "clusters", mapping(chosen).get("cluster"), "cluster")
    name = mapping(chosen).get("user")
    user = _named(content, "users", name, "user") if name else {}
    if not chosen or not cluster or user is None or cluster.keys() - _CLUSTER or user.keys() - _USER:
        return None
    # the package reads no files for a server without TLS
    https = str(cluster.get("server")).startswith("https")
    try:
        ca = _file(cluster, "certificate-authority", folder, base) if https else None
        certificate = _file(user, "client-certificate", folder, base) if https else None
        key = _file(user, "client-key", folder, base) if https else None
        token = user["token"] if "token" in user else _read(user, "tokenFile", base)
    except (OSError, ValueError, TypeError, binascii.Error):
        return None
    server, insecure = cluster.get("server"), cluster.get("insecure-skip-tls-verify", False)
    texts = [server, *(value for value in (token, cluster.get("tls-server-name")) if value is not None)]
    if not isinstance(insecure, bool) or not all(isinstance(text, str) for text in texts) or not str(server).startswith("http"):
        return None
    return Configuration(
        host=str(server).rstrip("/"),
        verify_ssl=not insecure,
        ssl_ca_cert=ca,
        cert_file=certificate,
        key_file=key,
        tls_server_name=cluster.get("tls-server-name"),
        api_key={"BearerToken": f"Bearer {token}"} if token else {},
    )


def forget() -> None:
    """Close what :func:`from_content` keeps in memory; its paths lead nowhere then."""
    while _MEMORY:
        os.close(_MEMORY.pop())


def _named(content: dict[str, Any], section: str, name: Any, field_name: str) -> Optional[dict[str, Any]]:
    found = [each for each in mappings(content.get(section)) if each.get("name") == name]
    inner = found[0].get(field_name) if len(found) == 1 else None
    return inner if isinstance(inner, dict) else None


def _file(holder: dict[str, Any], name: str, folder: str, base: str) -> Optional[str]:
    """Path of a file, embedded (which wins, an empty text as well: it means that there is none) or named."""
    if f"{name}-data" in holder:
        embedded = holder[f"{name}-data"]
        if embedded == "":
            return None
        data = base64.b64decode(embedded)
        if hasattr(os, "memfd_create"):
            memory = os.memfd_create(name)
            _MEMORY.append(memory)
            os.write(memory, data)
            return f"/proc/self/fd/{memory}"
        path = os.path.join(folder, name)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(data)
        return path
    if name not in holder:
        return None
    path = os.path.normpath(os.path.join(base, holder[name]))
    if not os.path.isfile(path):
        raise FileNotFoundError(path)
    return path


def _read(holder: dict[str, Any], name: str, base: str) -> Optional[str]:
    if name not in holder:
        return None
    with open(os.path.join(base, holder[name]), encoding="utf-8") as file:
        return file.read()
