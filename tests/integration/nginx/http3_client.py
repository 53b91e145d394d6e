# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks over HTTP/3 for each URL, connecting to 127.0.0.1 whatever its host; prints a JSON list. Runs in an environment with aioquic.

The entry is ``{"status", "headers", "body"}``, or ``{"error"}`` where no session came about.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
from typing import Any
from urllib.parse import urlsplit

from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.h3.connection import H3_ALPN, H3Connection
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import ConnectionTerminated, QuicEvent


class Client(QuicConnectionProtocol):
    """One request over one connection."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self.seen: dict[str, Any] = {"headers": {}, "body": ""}

    def quic_event_received(self, event: QuicEvent) -> None:
        if isinstance(event, ConnectionTerminated) and not self.answer.done():
            self.answer.set_result({"error": event.reason_phrase or hex(event.error_code)})
        for made in self.http.handle_event(event) if hasattr(self, "http") else ():
            if isinstance(made, HeadersReceived):
                headers = {name.decode(): value.decode() for name, value in made.headers}
                self.seen["status"] = headers.pop(":status")
                self.seen["headers"] = headers
            elif isinstance(made, DataReceived):
                self.seen["body"] += made.data.decode()
            if getattr(made, "stream_ended", False) and not self.answer.done():
                self.answer.set_result(self.seen)

    async def get(self, host: str, path: str) -> dict[str, Any]:
        self.http = H3Connection(self._quic)
        head = {":method": "GET", ":scheme": "https", ":authority": host, ":path": path}
        stream = self._quic.get_next_available_stream_id()
        self.http.send_headers(stream, [(name.encode(), value.encode()) for name, value in head.items()], end_stream=True)
        self.transmit()
        return await asyncio.wait_for(self.answer, 60)


async def ask(url: str) -> dict[str, Any]:
    parts = urlsplit(url)
    name, port = parts.hostname or "", parts.port or 443
    configuration = QuicConfiguration(is_client=True, alpn_protocols=H3_ALPN, verify_mode=ssl.CERT_NONE, server_name=name)
    try:
        async with connect("127.0.0.1", port, configuration=configuration, create_protocol=Client) as client:
            assert isinstance(client, Client)
            return await client.get(f"{name}:{port}", parts.path or "/")
    except (ConnectionError, TimeoutError) as error:
        return {"error": str(error) or type(error).__name__}


async def main() -> None:
    print(json.dumps([await ask(url) for url in sys.argv[1:]]))


asyncio.run(main())
