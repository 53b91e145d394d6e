# SPDX-License-Identifier: GPL-3.0-or-later
"""HTTP/2 through curl where the probing host has one that can; the standard library can't.

The TLS facts come from the probe's own handshake before; curl makes a second connection for the request.
"""

from __future__ import annotations

import shutil
import subprocess
import threading

from .._address import bracketed
from .http1 import BODY_LIMIT, seen_headers
from .observation import Failure, HttpSeen
from .spec import Path

# curl's exit codes (man curl) by the phase in which it ended
_FAILURES = {
    6: ("dns", "no_address"),
    7: ("tcp", "refused"),
    16: ("http", "garbled"),
    28: ("http", "timeout"),
    35: ("tls_handshake", "tls"),
    52: ("http", "closed"),
    55: ("http", "reset"),
    56: ("http", "reset"),
    58: ("tls_handshake", "certificate"),
    92: ("http", "reset"),
}
# unsupported protocol, failed initialization, feature not built in
_CANNOT = (1, 2, 4)
_HEADERS_LIMIT = 64 * 1024


def exchange(path: Path, foreign: str | None, seconds: float) -> HttpSeen | Failure | str:
    """One request over HTTP/2; a text says why it could not be tested."""
    curl = shutil.which("curl")
    if curl is None:
        return "there is no curl on this host to speak HTTP/2"
    # a client certificate in memory is inherited by its descriptor
    kept = (int(foreign.rpartition("/")[2]),) if foreign else ()
    limit = _HEADERS_LIMIT + BODY_LIMIT
    # options come by standard input: a header may hold what the list of processes must not show
    # run_command would hold whatever the other side sends; here reading ends at the limit
    with subprocess.Popen(  # pylint: disable=ansible-bad-function
        [curl, "--disable", "--config", "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, pass_fds=kept
    ) as process:
        watchdog = threading.Timer(seconds + 2, process.kill)
        watchdog.start()
        try:
            if process.stdin and process.stdout:
                process.stdin.write(_options(path, foreign, seconds).encode())
                process.stdin.close()
                output = process.stdout.read(limit)
            process.kill()
            code = process.wait()
        finally:
            watchdog.cancel()
    if code in _CANNOT:
        return "this host's curl can't speak HTTP/2"
    answer = _seen(output, truncated=len(output) == limit)
    if answer is not None:
        return answer
    phase, kind = _FAILURES.get(code, ("http", "closed"))
    return Failure(phase, kind, text=f"curl exit code {code}")


def _options(path: Path, foreign: str | None, seconds: float) -> str:
    http, tls = path.http, path.tls
    if http is None:
        return ""
    address = bracketed(path.address)
    name = (tls.sni if tls else "") or address
    options = [
        ("url", f"{'https' if tls else 'http'}://{name}:{path.port}{http.path}"),
        ("connect-to", f"{name}:{path.port}:{address}:{path.port}"),
        ("request", http.method),
        ("max-time", f"{seconds:.1f}"),
        ("noproxy", "*"),
        ("user-agent", "edgemesh-probe"),
        ("header", f"Host: {http.host}" if http.host else "Host:"),
        *(("header", f"{key}: {value}" if value else f"{key}:") for key, value in http.headers.items()),
    ]
    flags = ["silent", "include", "path-as-is", "globoff"]
    if http.method == "HEAD":
        flags.append("head")
    if path.proxy_protocol:
        flags.append("haproxy-protocol")
    if tls:
        flags += ["insecure", "http2"]
        if tls.client:
            cert, key = (foreign, foreign) if tls.client.foreign else (tls.client.cert_file, tls.client.key_file)
            options += [("cert", str(cert)), ("key", str(key))]
    else:
        flags.append("http2-prior-knowledge")
    quoted = (value.replace("\\", "\\\\").replace('"', '\\"') for _name, value in options)
    return "\n".join([*flags, *(f'{key} = "{value}"' for (key, _value), value in zip(options, quoted))]) + "\n"


def _seen(output: bytes, truncated: bool) -> HttpSeen | None:
    """curl's headers and body, or None where there was no answer."""
    head, separator, body = output.partition(b"\r\n\r\n")
    while separator and head.startswith(b"HTTP/") and head.split(None, 2)[1:2] == [b"100"]:
        head, separator, body = body.partition(b"\r\n\r\n")
    if not separator or not head.startswith(b"HTTP/"):
        return None
    first, *lines = head.decode("latin-1").split("\r\n")
    version, status = first.split()[:2]
    pairs = [(name.strip(), value.strip()) for name, colon, value in (line.partition(":") for line in lines) if colon]
    truncated = truncated or len(body) > BODY_LIMIT
    return HttpSeen(
        status=int(status),
        version=version.rpartition("/")[2],
        headers=seen_headers(pairs),
        body=body[:BODY_LIMIT].decode("utf-8", "replace"),
        body_bytes=min(len(body), BODY_LIMIT),
        truncated=truncated,
    )
