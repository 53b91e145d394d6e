# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether what was seen is what was expected, as far as the wire alone tells. Pure; used on both sides."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from typing import Any

from .observation import Observation
from .spec import Expect

Check = dict[str, str]


def passed(name: str, observed: str = "") -> Check:
    """A check that held."""
    return {"check": name, "status": "ok", "observed": observed}


def failed(name: str, observed: str, expected: str = "", code: str = "") -> Check:
    """A check that did not hold."""
    return {"check": name, "status": "failed", "observed": observed, "expected": expected, "code": code}


def not_tested(name: str, reason: str) -> Check:
    """A check that could not be made."""
    return {"check": name, "status": "not_tested", "observed": reason}


def answer_checks(seen: Observation, expect: Expect) -> list[Check]:
    """The expectations on TLS and on the answer, one check each; [] where there was no answer to judge."""
    return [*_tls_checks(seen, expect), *_http_checks(seen, expect)]


def statuses(expect: Expect) -> str:
    """The statuses that are right, as people say it: ``200``, ``301 or 302``, ``200 to 499``."""
    wanted = sorted(set(expect.status)) or list(range(200, 400))
    if len(wanted) > 2 and wanted[-1] - wanted[0] == len(wanted) - 1:
        return f"{wanted[0]} to {wanted[-1]}"
    return " or ".join(map(str, wanted))


def _tls_checks(seen: Observation, expect: Expect) -> list[Check]:
    if seen.tls is None:
        return []
    checks = []
    if expect.tls_version:
        checks.append(_equal("tls_version", seen.tls.version, expect.tls_version))
    if expect.certificate_requested is not None:
        if seen.tls.requested is None:
            checks.append(not_tested("certificate_requested", "this host's Python can't tell"))
        else:
            checks.append(_equal("certificate_requested", str(seen.tls.requested).lower(), str(expect.certificate_requested).lower()))
    if expect.leaf_sha256:
        checks.append(_equal("leaf_sha256", leaf_sha256(seen), expect.leaf_sha256))
    return checks


def _http_checks(seen: Observation, expect: Expect) -> list[Check]:
    http = seen.http
    if http is None:
        return []
    good = http.status in expect.status if expect.status else 200 <= http.status < 400
    wanted = statuses(expect)
    checks = [passed("status", str(http.status)) if good else failed("status", str(http.status), wanted)]
    if expect.http_version:
        checks.append(_equal("http_version", http.version, expect.http_version))
    if expect.body_contains:
        found = expect.body_contains in http.body
        wanted = f"contains {expect.body_contains!r}"
        checks.append(passed("body", expect.body_contains) if found else failed("body", short(http.body), wanted))
    for name, pattern in expect.headers.items():
        value = http.headers.get(name.lower())
        if pattern is None:
            checks.append(passed(f"header {name}", "absent") if value is None else failed(f"header {name}", value, "absent"))
        elif value is not None and re.search(str(pattern), value):
            checks.append(passed(f"header {name}", value))
        else:
            checks.append(failed(f"header {name}", "absent" if value is None else value, str(pattern)))
    if expect.body_json:
        checks += _json_checks(http.body, expect.body_json)
    return checks


def _json_checks(body: str, wanted: dict[str, Any]) -> list[Check]:
    try:
        document = json.loads(body)
    except ValueError:
        return [failed("body_json", short(body), "JSON")]
    checks = []
    for path, value in wanted.items():
        found: Any = document
        for key in str(path).split("."):
            try:
                found = found[int(key)] if isinstance(found, list) else found[key]
            except (KeyError, IndexError, TypeError, ValueError):
                found = None
                break
        shown, name = json.dumps(found), f"body_json {path}"
        same = found == value or (isinstance(value, str) and str(found) == value)
        checks.append(passed(name, short(shown)) if same else failed(name, short(shown), json.dumps(value)))
    return checks


def meets(seen: Observation, expect: Expect) -> bool:
    """Whether the wire shows what is expected; the chain is judged later, elsewhere."""
    if expect.refused:
        by_answer = expect.codes or "http" in expect.phase or "policy" in expect.phase
        return seen.failure is not None or bool(by_answer and seen.http is not None)
    return seen.failure is None and not any(check["status"] == "failed" for check in answer_checks(seen, expect))


def leaf_sha256(seen: Observation) -> str:
    """The presented leaf's SHA-256 in lower-case hexadecimal, "" where none was presented."""
    if seen.tls is None or not seen.tls.chain:
        return ""
    return hashlib.sha256(base64.b64decode(seen.tls.chain[0])).hexdigest()


def short(text: str, size: int = 120) -> str:
    """One line of at most ``size`` characters, without what a terminal might take for a command."""
    line = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return line if len(line) <= size else line[: size - 1] + "…"


def _equal(name: str, observed: str, expected: str) -> Check:
    return passed(name, observed) if observed == expected else failed(name, observed, expected)
