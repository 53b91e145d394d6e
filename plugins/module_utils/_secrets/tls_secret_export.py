# SPDX-License-Identifier: GPL-3.0-or-later
"""Which files an export of a Secret makes, and what goes into each."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Optional

from .. import _files
from .._errors import EdgeError
from .._x509 import facts, pem
from .._x509.material import Material, describe, from_secret, summary
from . import fitness
from .entries import Reference, reference

#: option -> what the file holds; the order is that of results
PARTS = ("cert", "fullchain", "leaf", "chain", "ca", "key")
CERTIFICATE_MODE, KEY_MODE = 0o644, 0o600


@dataclass
class File:
    """One file to be: ``content`` None = only the real run knows it."""

    path: str
    part: str
    mode: int
    content: Optional[bytes] = field(default=None, repr=False)

    @property
    def digest(self) -> str:
        """SHA-256 of the content as hex; "" where it isn't known."""
        return _files.digest(self.content)

    @property
    def shown(self) -> Any:
        """For a diff: names, dates and fingerprints."""
        if self.content is None:
            return "(known after apply)"
        return describe({"tls.key" if self.part == "key" else "tls.crt": self.content}).popitem()[1]


@dataclass
class Export:
    """One Secret and its files."""

    ref: Reference
    files: list[File]
    mapping: dict[str, Optional[str]]
    attributes: dict[str, Any]
    backup: bool = False
    material: Optional[Material] = field(default=None, repr=False)

    @property
    def certificate(self) -> Optional[dict[str, Any]]:
        """Facts of the first certificate."""
        return summary(self.material) if self.material else None


def exports(params: list[dict[str, Any]]) -> list[Export]:
    """All of them, or one error that names every one that can't be used.

    :raises EdgeError: EXPORT_INVALID.
    """
    result: list[Export] = []
    problems: list[str] = []
    taken: set[str] = set()
    for number, raw in enumerate(params):
        secret = raw.get("secret") or {}
        try:
            each = _export(raw, secret)
            for file in each.files:
                if file.path in taken:
                    raise EdgeError(f"{file.path} is written twice")
                taken.add(file.path)
            result.append(each)
        except EdgeError as error:
            problems.append(f"exports[{number}] ({secret.get('namespace')}/{secret.get('name')}): {error.sentence}")
    if problems:
        raise EdgeError(" ".join(problems).rstrip("."), code="EXPORT_INVALID")
    return result


def _export(raw: dict[str, Any], secret: dict[str, Any]) -> Export:
    key_mode, mode = octal(raw.get("mode"), KEY_MODE), octal(raw.get("public_mode"), CERTIFICATE_MODE)
    if key_mode & 0o027:
        raise EdgeError(f"mode {key_mode:04o} lets others read or the group write a private key", fix="Use 0600, or 0640 with a group")
    if mode & 0o022:
        raise EdgeError(f"public_mode {mode:04o} lets others write", fix="Use 0644")
    files = [File(_files.checked_path(raw[part]), part, key_mode if part == "key" else mode) for part in PARTS if raw.get(part)]
    if not files:
        raise EdgeError(f"nothing is exported: give at least one of {', '.join(PARTS)}")
    mapping = {role: secret.get(role) for role in ("certificate", "key", "ca")}
    names = ("owner", "group", "seuser", "serole", "setype", "selevel")
    return Export(reference(secret), files, mapping, {name: raw.get(name) for name in names}, bool(raw.get("backup")))


def octal(value: Any, default: int) -> int:
    """A mode as Ansible users write it: "0640", "640", or the number that YAML makes of an unquoted 0640.

    :raises EdgeError: MODE_INVALID.
    """
    if value is None or value == "":
        return default
    text = f"{value:o}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
    if not text.isascii() or not text.isdigit() or any(digit in "89" for digit in text) or int(text, 8) > 0o777:
        raise EdgeError(f"{str(value)[:20]!r} is no octal mode", fix='Write it as a quoted octal number, e.g. "0640"', code="MODE_INVALID")
    return int(text, 8)


def fill(export: Export, secret: dict[str, Any]) -> list[fitness.Finding]:
    """Put the Secret's material into the export's files; returns what is wrong with it but no reason to refuse.

    :raises EdgeError: a part is missing (PART_MISSING), key and certificate don't belong together, or an entry can't be read.
    """
    material = export.material = from_secret(secret, export.mapping)
    where = f"Secret {export.ref}"
    parts: dict[str, list[Any]] = {
        "cert": material.certs,
        "fullchain": material.certs,
        "leaf": material.certs[:1],
        "chain": [each for each in material.certs[1:] if not facts.self_signed(each)],
        "ca": material.trust,
        "key": [material.key] if material.key is not None else [],
    }
    for file in export.files:
        if not parts[file.part]:
            has = ", ".join(sorted(secret.get("data") or {})) or "nothing"
            raise EdgeError(f"the Secret has no {file.part} to export", where=where, why=f"it holds {has}", code="PART_MISSING")
        file.content = material.key_pem() if file.part == "key" else pem.dump(parts[file.part]).encode("ascii")
    if material.certs and material.key is not None:
        mismatch = [each for each in fitness.pair(material) if each.severity == fitness.ERROR]
        if mismatch:
            raise EdgeError(mismatch[0].sentence, where=where, fix=mismatch[0].fix, code=mismatch[0].code)
    return fitness.dates(material.certs or material.ca)


def instruction(export: Export, file: File, send: bool) -> dict[str, Any]:
    """What the module on the host is told about one file; the content only where the host asked for it."""
    return {
        "path": file.path,
        "secret": file.part == "key",
        "mode": f"{file.mode:04o}",
        **export.attributes,
        "backup": export.backup,
        "sha256": file.digest,
        "content": file.content.decode("ascii") if send and file.content is not None else None,
    }
