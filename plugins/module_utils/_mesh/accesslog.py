# SPDX-License-Identifier: GPL-3.0-or-later
"""Envoy's access log, in Istio's text format or as JSON."""

from __future__ import annotations

import json
import re
from typing import Any, Optional

# Istio's default format (EnvoyTextLogFormat): the parts that a proof needs
_TEXT = re.compile(
    r'^\[(?P<start_time>[^\]]*)\] "(?P<method>\S*) (?P<path>\S*) (?P<protocol>[^"]*)" (?P<response_code>\d+) (?P<response_flags>\S+) '
    r'(?P<response_code_details>\S+) \S+ "(?P<upstream_transport_failure_reason>[^"]*)" \d+ \d+ \S+ \S+ '
    r'"(?P<x_forwarded_for>[^"]*)" "(?P<user_agent>[^"]*)" "(?P<request_id>[^"]*)" "(?P<authority>[^"]*)" "(?P<upstream_host>[^"]*)" '
    r"(?P<upstream_cluster>\S+) \S+ \S+ (?P<downstream_remote_address>\S+) (?P<requested_server_name>\S+) (?P<route_name>\S+)"
)


def parse(line: str) -> Optional[dict[str, str]]:
    """One line as a dictionary by Istio's JSON names; None when it is no access log line. ``-`` becomes ""."""
    line = line.strip()
    if line.startswith("{"):
        try:
            document: Any = json.loads(line)
        except ValueError:
            return None
        fields = {str(key): "" if value is None else str(value) for key, value in document.items()}
        if "user_agent" not in fields:
            return None
    else:
        match = _TEXT.match(line)
        if not match:
            return None
        fields = match.groupdict()
    return {key: "" if value == "-" else value for key, value in fields.items()}


def forwarded(entry: dict[str, str]) -> list[str]:
    """The addresses in X-Forwarded-For, the client's own words first, the gateway's addition last."""
    return [part.strip() for part in entry.get("x_forwarded_for", "").split(",") if part.strip()]


def remote(entry: dict[str, str]) -> str:
    """Whom the gateway takes for the client, without port and brackets."""
    address = entry.get("downstream_remote_address", "")
    host = address.rpartition(":")[0] if address.count(":") == 1 or address.startswith("[") else address
    return host.strip("[]")


def find(lines: list[str], user_agent: str) -> Optional[dict[str, str]]:
    """The entry of the request that called itself ``user_agent``."""
    for line in lines:
        if user_agent in line:
            entry = parse(line)
            if entry and entry["user_agent"] == user_agent:
                return entry
    return None
