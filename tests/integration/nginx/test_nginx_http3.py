# SPDX-License-Identifier: GPL-3.0-or-later
"""HTTP/3 by Debian 13's nginx, asked by a real client (aioquic), and what an older nginx is told instead."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from nginx_local import Nginx

sys.path.append(str(Path(__file__).resolve().parents[2] / "unit" / "nginx"))

from nginx_rendering import files_of, plan, route

from lab.settings import CACHE
from plugins.module_utils._nginx.write.blocks import Settings
from tests.ports import free_port, wait_for_port

BACKEND = """
server {{
    listen 127.0.0.1:{port} ssl;
    ssl_certificate /etc/edgemesh/tls/own/tls.crt; ssl_certificate_key /etc/edgemesh/tls/own/tls.key;
    location / {{ default_type text/plain; return 200 "$ssl_server_name $host $http_x_forwarded_for $http_x_forwarded_proto"; }}
}}
"""


@pytest.fixture(scope="module")
def client() -> list[str]:
    """aioquic in an environment of its own."""
    folder = CACHE / "nginx-tests" / "aioquic"
    if not (folder / "ready").exists():
        script = Path(__file__).resolve().parents[2] / "tools" / "venv.sh"
        subprocess.run(["bash", str(script), sys.executable, str(folder), "aioquic"], check=True, capture_output=True)
    return [str(folder / "bin" / "python"), str(Path(__file__).with_name("http3_client.py"))]


ALONE, BESIDE = "alone", "beside TLS that is passed on"


@pytest.fixture(scope="module", params=[ALONE, BESIDE] if os.environ.get("EDGEMESH_SOAK") else [BESIDE])
def port(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    nginx = Nginx(tmp_path_factory.mktemp("nginx"), "trixie")
    public, backend = free_port(), free_port()
    listen = {"listen__port": public, "listen__redirect_http": False, "upstream_tls__verify": False}
    routes = [route(**listen, listen__http3=True), route(name="old", host="old.example.com", **listen)]
    if request.param == BESIDE:
        passage = {"mode": "passthrough", "port": public, "redirect_http": False}
        routes.append(route(name="bank", host="bank.example.com", listen=passage))
    build = nginx.build()
    whole = plan(
        *routes, upstreams={"main": [f"127.0.0.1:{backend}"]}, inner_port=free_port(),
        version=".".join(map(str, Settings(build=build).version)), configured=build.partition("\n")[2],
    )  # fmt: skip
    nginx.write(BACKEND.format(port=backend), main="daemon off;\nworker_processes 2;\n", files=files_of(whole))
    process = nginx.start()
    try:
        wait_for_port(public, process, nginx.folder / "logs/error.log")
        yield public
    finally:
        process.terminate()
        process.wait(60)


def test_a_route_is_answered_over_http3(port: int, client: list[str]) -> None:
    names = ["shop", "shop", "unknown"]
    done = subprocess.run(
        [*client, *(f"https://{name}.example.com:{port}/a" for name in names)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    first, second, unknown = json.loads(done.stdout)
    for answer in (first, second):
        assert (answer["status"], answer["body"]) == ("200", "shop.example.com shop.example.com 127.0.0.1 https")
        assert answer["headers"]["alt-svc"] == f'h3=":{port}"; ma=86400'
    assert "error" in unknown, "a name that no route has gets no handshake here either"


def test_tcp_tells_of_it_only_where_it_is(port: int) -> None:
    def headers(name: str) -> Any:
        host = f"{name}.example.com"
        done = subprocess.run(
            ["curl", "-sSkI", "-X", "GET", "--resolve", f"{host}:{port}:127.0.0.1", f"https://{host}:{port}/"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        return done.stdout.lower()

    assert f'alt-svc: h3=":{port}"; ma=86400' in headers("shop")
    assert "alt-svc" not in headers("old")
    assert headers("old").startswith("http/2 200")
