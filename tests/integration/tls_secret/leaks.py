"""Looks for a private key in anything that was printed, logged or passed on a command line, in every form it may take."""

from __future__ import annotations

import base64
import contextlib
import functools
import os
import socket
import threading
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

WINDOW = 40


def windows(text: str) -> set[str]:
    """Overlapping pieces, so that a key that is cut or wrapped elsewhere is found as well."""
    return {text[at : at + WINDOW] for at in range(0, max(1, len(text) - WINDOW + 1), 8)} if len(text) >= WINDOW else set()


def forms(key: str) -> set[str]:
    """Every form of the key but for what all keys of its kind have in common: the boundaries and the algorithm in front."""
    return _forms(key) - _common(len(key))


@functools.cache
def _common(length: int) -> set[str]:
    make = (lambda: rsa.generate_private_key(65537, 2048)) if length > 1000 else (lambda: ec.generate_private_key(ec.SECP256R1()))
    one, two = (make().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode() for _turn in range(2))
    return _forms(one) & _forms(two)


def _forms(key: str) -> set[str]:
    """Pieces of 40 characters of a PEM key: by line, joined, base64 in all three alignments, URL-safe, hex."""
    lines = [line for line in key.strip().splitlines() if "-----" not in line]
    joined = "".join(lines)
    found = set().union(*(windows(line) for line in lines), windows(joined))
    for text in (key, key.strip(), joined):
        for shift in range(3):
            encoded = base64.b64encode(text.encode()[shift:]).decode()
            # the last piece depends on where the text ends
            found |= windows(encoded[:-8]) | windows(base64.urlsafe_b64encode(text.encode()[shift:]).decode()[:-8])
        found |= windows(text.encode().hex())
    der = base64.b64decode(joined)
    return found | windows(der.hex()) | windows(base64.urlsafe_b64encode(der).decode())


def leaks(key: str, text: str) -> list[str]:
    """Which pieces of the key are in the text; [] = none."""
    return [piece for piece in forms(key) if piece in text or piece.upper() in text]


class CommandLines(threading.Thread):
    """Collects every process's command line and environment while it runs."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.seen: set[str] = set()
        self.done = threading.Event()

    def run(self) -> None:
        while not self.done.wait(0.03):
            for entry in os.listdir("/proc"):
                if entry.isdigit() and int(entry) != os.getpid():
                    with contextlib.suppress(OSError):
                        self.seen.add(Path(f"/proc/{entry}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))

    def __enter__(self) -> CommandLines:
        self.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self.done.set()
        self.join()


class SystemLog(threading.Thread):
    """/dev/log, where modules log what they were called with; only where nobody listens there already."""

    PATH = Path("/dev/log")

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.text = ""
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.listener.settimeout(0.2)
        self.listener.bind(str(self.PATH))
        self.done = threading.Event()

    def run(self) -> None:
        while not self.done.is_set():
            with contextlib.suppress(TimeoutError):
                self.text += self.listener.recv(1 << 20).decode(errors="replace")

    def __enter__(self) -> SystemLog:
        self.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self.done.set()
        self.join()
        self.listener.close()
        self.PATH.unlink()
