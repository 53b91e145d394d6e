# SPDX-License-Identifier: GPL-3.0-or-later
"""Addresses as text."""

from __future__ import annotations

import ipaddress


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


def ip(text: str) -> str:
    """An IP address, in brackets or not, in its one spelling without brackets; "" for anything else. IPv4 inside IPv6 is IPv4."""
    try:
        address = ipaddress.ip_address(text.strip().strip("[]"))
    except ValueError:
        return ""
    return str(getattr(address, "ipv4_mapped", None) or address)
