"""Addresses as text."""

from __future__ import annotations


def bracketed(host: str) -> str:
    """A name or an address as it stands in front of a port: brackets around IPv6."""
    return f"[{host}]" if ":" in host else host


def join(host: str, port: int) -> str:
    """``198.18.0.1:30443``, ``[::1]:443``."""
    return f"{bracketed(host)}:{port}"


def split(address: str) -> tuple[str, int]:
    """The reverse of :func:`join`."""
    host, _colon, port = address.rpartition(":")
    return host.strip("[]"), int(port)
