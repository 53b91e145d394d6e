# SPDX-License-Identifier: GPL-3.0-or-later
"""Ways into a cluster: kubernetes.core's option names and K8S_AUTH_* variables."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import tempfile
import threading
from typing import Any, Optional

from .._errors import EdgeError
from .._kubeconfig import kubeconfig_content, kubeconfig_path
from . import packaged, simple
from .arguments import CONNECTION_ARGUMENTS
from .client import Client
from .deadline import Deadline
from .text import clean
from .transport import Transport

#: Seconds for a task, unless a module has its own option.
TIMEOUT = 120

_LOADING = threading.Lock()


def connect(params: dict[str, Any], *, deadline: Optional[Deadline] = None) -> Client:
    """A client for the cluster that ``params`` and the environment name.

    :param params: a module's parameters; those of :data:`CONNECTION_ARGUMENTS` count, and ``timeout`` (seconds).
    :raises EdgeError: when the library is missing, there is no usable configuration, or credentials can't be had.
        The first request is made later: an unreachable cluster shows then.
    """
    credentials = Credentials(given(params))
    return Client(credentials.transport, deadline or Deadline(float(params.get("timeout") or TIMEOUT)), renew=credentials.renew)


def given(params: dict[str, Any]) -> dict[str, Any]:
    """Options that are set, from ``params`` or else from the K8S_AUTH_* variables that kubernetes.core reads."""
    found: dict[str, Any] = {}
    for option, spec in CONNECTION_ARGUMENTS.items():
        value = params.get(option)
        if option == "proxy_headers":
            value = {name: word for name, word in (value or {}).items() if word is not None} or _proxy_headers_from_environment(spec)
        elif value is None:
            names = [option, *spec.get("aliases", [])]
            value = next((os.environ[f"K8S_AUTH_{name.upper()}"] for name in names if os.environ.get(f"K8S_AUTH_{name.upper()}")), None)
            if value is not None and spec["type"] == "bool":
                value = value.strip().lower() not in ("0", "false", "no", "off", "n", "f")
            elif value is not None and spec["type"] == "list":
                value = [word.strip() for word in value.split(",") if word.strip()]
        if value not in (None, "", {}, []):
            found[option] = value
    return found


def _proxy_headers_from_environment(spec: dict[str, Any]) -> dict[str, str]:
    words = {name: os.environ.get(f"K8S_AUTH_PROXY_HEADERS_{name.upper()}") for name in spec["options"]}
    return {name: word for name, word in words.items() if word}


class Credentials:
    """Loads the configuration, and again when the server no longer accepts what it gave (a rotated token, a new exec run)."""

    def __init__(self, options: dict[str, Any]) -> None:
        self._options = options
        self._lock = threading.Lock()
        self.transport = self._load()

    def renew(self, used: Transport) -> Transport:
        """A transport with fresh credentials; one load serves all threads whose ``used`` one was refused."""
        with self._lock:
            if self.transport is used:
                self.transport = self._load()
            return self.transport

    def _load(self) -> Transport:
        # The package writes embedded certificates and keys to files, because Python's ssl reads nothing else, and would use a
        # file again for the same content: not while another thread removes it.
        with _LOADING:
            folder = tempfile.mkdtemp(prefix="edgemesh-")
            try:
                configuration = _configuration(self._options, folder)
                context = _tls(configuration, self._options) if configuration.host.startswith("https") else None
            finally:
                simple.forget()
                shutil.rmtree(folder, ignore_errors=True)
        return Transport(configuration.host, _pool(configuration, context), self._headers(configuration))

    def _headers(self, configuration: Any) -> Any:
        fixed: list[tuple[str, str]] = []
        if "impersonate_user" in self._options:
            fixed.append(("Impersonate-User", self._options["impersonate_user"]))
        fixed += [("Impersonate-Group", group) for group in self._options.get("impersonate_groups", [])]
        if configuration.username and configuration.password and not configuration.api_key:
            fixed.append(("Authorization", configuration.get_basic_auth_token()))
        lock = threading.Lock()

        def headers() -> list[tuple[str, str]]:
            # The package's hook reads a rotated token file or runs the exec plugin again shortly before a token expires.
            try:
                with lock:
                    settings = configuration.auth_settings().values()
            except Exception as error:
                why = error.strerror if isinstance(error, OSError) else type(error).__name__
                raise EdgeError("the credentials can't be renewed", why=clean(why, 200), code="CREDENTIALS") from None
            return fixed + [(each["key"], each["value"].strip()) for each in settings if each["in"] == "header" and each["value"]]

        return headers


def _configuration(options: dict[str, Any], folder: str) -> Any:
    complete = "host" in options and (
        "api_key" in options or {"username", "password"} <= options.keys() or {"client_cert", "client_key"} <= options.keys()
    )
    configuration: Any = _simple(options, folder, complete=complete) or packaged.load(options, folder, complete=complete)
    names = {
        "host": "host",
        "username": "username",
        "password": "password",
        "validate_certs": "verify_ssl",
        "ca_cert": "ssl_ca_cert",
        "client_cert": "cert_file",
        "client_key": "key_file",
        "proxy": "proxy",
        "no_proxy": "no_proxy",
    }
    for option, attribute in names.items():
        if option in options:
            setattr(configuration, attribute, options[option])
    if "api_key" in options:
        configuration.api_key = {"authorization": f"Bearer {options['api_key']}"}
        configuration.refresh_api_key_hook = None
    if "proxy_headers" in options:
        import urllib3

        configuration.proxy_headers = urllib3.make_headers(**options["proxy_headers"])
    return configuration


def _simple(options: dict[str, Any], folder: str, *, complete: bool) -> Optional[simple.Configuration]:
    """Without the package, if it is that simple."""
    if not simple.may_be(options):
        return None
    if complete:
        return simple.Configuration()
    path = kubeconfig_path(options)
    if path:
        return simple.from_file(path, options.get("context"), folder)
    return simple.from_content(kubeconfig_content(options["kubeconfig"]), options.get("context"), folder)


def _tls(configuration: Any, options: dict[str, Any]) -> ssl.SSLContext:
    """One TLS context for all connections: loading the CA for each would cost more than the handshake."""
    try:
        context = ssl.create_default_context(cafile=configuration.ssl_ca_cert or None, cadata=getattr(configuration, "ca_cert_data", None))
    except (OSError, ValueError) as error:
        raise _file_error("the cluster's CA", configuration.ssl_ca_cert, error) from None
    if options.get("x509_strict") is not None:
        strict = ssl.VERIFY_X509_STRICT
        context.verify_flags = context.verify_flags | strict if options["x509_strict"] else context.verify_flags & ~strict
    if not configuration.verify_ssl:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if configuration.cert_file:
        try:
            context.load_cert_chain(configuration.cert_file, configuration.key_file or None, password=lambda: "")
        except (OSError, ValueError) as error:
            raise _file_error("the client certificate and its key", f"{configuration.cert_file}, {configuration.key_file}", error) from None
    _set_alpn_once(context)
    return context


def _set_alpn_once(context: ssl.SSLContext) -> None:
    """urllib3 sets the protocols anew for each connection, while another thread may be copying them (python/cpython#141012).

    What is copied then is memory that was given back, and the server answers with a TLS alert (decode_error), if nothing worse happens.
    """
    context.set_alpn_protocols(["http/1.1"])
    setattr(context, "set_alpn_protocols", lambda _the_same: None)  # noqa: B010


def _file_error(what: str, path: Any, error: Exception) -> EdgeError:
    why = error.strerror if isinstance(error, OSError) and not isinstance(error, ssl.SSLError) else getattr(error, "reason", "") or "no PEM"
    return EdgeError(f"{what} can't be used", where=clean(path, 300), why=clean(why, 200), code="CREDENTIALS")


def _pool(configuration: Any, context: Optional[ssl.SSLContext]) -> Any:
    import urllib3

    # A watch for each kind comes on top of the parallel requests.
    options: dict[str, Any] = {"maxsize": 32, "retries": False}
    if context is not None:
        options.update(ssl_context=context, cert_reqs=context.verify_mode)
        if not configuration.verify_ssl:
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
        if getattr(configuration, "assert_hostname", None) is not None:
            options["assert_hostname"] = configuration.assert_hostname
        if getattr(configuration, "tls_server_name", None):
            options["server_hostname"] = configuration.tls_server_name
    # A dead peer is noticed although nothing is being sent.
    keepalive = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
    for name, value in (("TCP_KEEPIDLE", 15), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, name):
            keepalive.append((socket.IPPROTO_TCP, getattr(socket, name), value))
    options["socket_options"] = [*urllib3.connection.HTTPConnection.default_socket_options, *keepalive]
    proxy = configuration.proxy
    no_proxy = getattr(configuration, "no_proxy", None) or ""
    if proxy and not packaged.library().client.rest.should_bypass_proxies(configuration.host, no_proxy=no_proxy):
        if proxy.partition("://")[0].lower().startswith("socks"):
            from urllib3.contrib.socks import SOCKSProxyManager

            return SOCKSProxyManager(proxy, headers=configuration.proxy_headers, **options)
        return urllib3.ProxyManager(proxy, proxy_headers=configuration.proxy_headers, **options)
    return urllib3.PoolManager(**options)
