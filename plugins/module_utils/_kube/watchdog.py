# SPDX-License-Identifier: GPL-3.0-or-later
"""Hangs up on an answer that takes longer than it may, however slowly it drips: a socket's own timeout starts anew with every byte."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Any, Optional

_thread = threading.local()


class Watchdog:
    """The time for one answer, from the request's end on. ``barked`` says that it was too long."""

    def __init__(self, seconds: float) -> None:
        self.barked = False
        self._seconds = seconds
        self._timer: Optional[threading.Timer] = None
        _thread.watchdog = self

    def watch(self, connection: Optional[socket.socket]) -> None:
        """The request has been sent over ``connection``."""
        self.stop()
        if connection is not None:
            self._timer = threading.Timer(self._seconds, self._hang_up, [connection])
            self._timer.daemon = True
            self._timer.start()

    def stop(self) -> None:
        """The answer is complete, or nobody waits for it any more."""
        if self._timer is not None:
            self._timer.cancel()

    def _hang_up(self, connection: socket.socket) -> None:
        self.barked = True
        with contextlib.suppress(OSError):
            # Not TLS's own, which another thread reading from it would not survive.
            socket.socket.shutdown(connection, socket.SHUT_RDWR)


class _Watched:
    """A connection that tells the watchdog of its thread that a request has been sent."""

    sock: Any

    def getresponse(self, *arguments: Any, **named: Any) -> Any:
        watchdog = getattr(_thread, "watchdog", None)
        if watchdog is not None:
            watchdog.watch(self.sock)
        return super().getresponse(*arguments, **named)  # type: ignore[misc]


def put_on(pool: Any) -> None:
    """Have a urllib3 pool manager's connections, whatever kind they are, watched."""
    for scheme, pool_class in list(pool.pool_classes_by_scheme.items()):
        connection = pool_class.ConnectionCls
        if not issubclass(connection, _Watched):
            watched = type(connection.__name__, (_Watched, connection), {})
            pool.pool_classes_by_scheme = {
                **pool.pool_classes_by_scheme,
                scheme: type(pool_class.__name__, (pool_class,), {"ConnectionCls": watched}),
            }
