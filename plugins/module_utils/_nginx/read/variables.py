# SPDX-License-Identifier: GPL-3.0-or-later
"""nginx variables as far as they can be known without nginx: the request's own, ``set``, ``map``, captures."""

from __future__ import annotations

import re

from . import host_table
from .syntax import Directive

_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
# not sent by the probe, so empty in nginx too
_EMPTY = ("http_", "arg_", "cookie_", "sent_http_", "upstream_", "ssl_client_")


class Variables:
    """The values for one request. ``values`` may be added to."""

    def __init__(self, http: list[Directive], values: dict[str, str]) -> None:
        self.values = dict(values)
        self._maps = {
            directive.args[1].lstrip("$"): directive for block in http for directive in block.find("map") if len(directive.args) == 2
        }
        self._sets: dict[str, str] = {}
        self._busy: set[str] = set()

    def set_from(self, block: Directive) -> None:
        """Take the ``set`` directives of a block into account."""
        for directive in block.find("set"):
            if len(directive.args) == 2:
                self._sets[directive.args[0].lstrip("$")] = directive.args[1]

    def capture(self, match: re.Match[str]) -> None:
        """Take the groups of a regular expression that matched into account."""
        for number, value in enumerate(match.groups(), 1):
            self.values[str(number)] = value or ""
        for name, value in match.groupdict().items():
            self.values[name] = value or ""

    def text(self, template: str) -> str | None:
        """``template`` with its variables filled in, or None where one of them can't be known."""
        parts, at = [], 0
        for match in _VARIABLE.finditer(template):
            value = self._value(match[1] or match[2])
            if value is None:
                return None
            parts += [template[at : match.start()], value]
            at = match.end()
        return "".join(parts) + template[at:]

    def _value(self, name: str) -> str | None:
        if name in self.values:
            return self.values[name]
        if name in self._busy:
            return None
        self._busy.add(name)
        try:
            if name in self._sets:
                return self.text(self._sets[name])
            if name in self._maps:
                return self._mapped(self._maps[name])
        finally:
            self._busy.discard(name)
        return "" if name.startswith(_EMPTY) else None

    def _mapped(self, directive: Directive) -> str | None:
        source = self.text(directive.args[0])
        if source is None:
            return None
        plain: list[tuple[str, str]] = []
        patterns: list[tuple[re.Match[str], str]] = []
        default, hostnames = "", False
        for entry in directive.block or []:
            key, value = entry.name, entry.args[0] if entry.args else ""
            if key == "include":
                return None
            if key == "hostnames" and not entry.args:
                hostnames = True
            elif key == "default" and entry.args:
                default = value
            elif key.startswith("~"):
                flags, pattern = (re.IGNORECASE, key[2:]) if key.startswith("~*") else (0, key[1:])
                match = host_table.search(pattern, source, flags)
                if match:
                    patterns.append((match, value))
            else:
                plain.append((key.lstrip("\\"), value))
        if hostnames:
            found = host_table.find(plain, source.lower())
        else:
            found = next((value for key, value in plain if key.lower() == source.lower()), None)
        if found is None and patterns:
            self.capture(patterns[0][0])
            found = patterns[0][1]
        return self.text(default if found is None else found)
