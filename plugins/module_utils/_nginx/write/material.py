# SPDX-License-Identifier: GPL-3.0-or-later
"""The certificates, keys and CAs that a configuration refers to: which Secret becomes which file."""

from __future__ import annotations

from typing import Any

from ..._routes.parts import Authority, KeyPair, SecretName
from ..._routes.places import file_of


class Material:
    """Collects which Secrets must come to the host as which files."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.exports: dict[SecretName, dict[str, Any]] = {}
        self.files: set[str] = set()

    @property
    def exported(self) -> tuple[str, ...]:
        """Paths of the files that come from Secrets."""
        return tuple(sorted(path for export in self.exports.values() for part, path in export.items() if part != "secret"))

    def pair(self, source: KeyPair) -> tuple[str, str]:
        """Paths of a certificate and its key."""
        if source.secret:
            return self._used(self._export(source.secret, "cert", "tls.crt")), self._used(self._export(source.secret, "key", "tls.key"))
        return self._used(source.cert_file or ""), self._used(source.key_file or "")

    def authority(self, source: Authority) -> str:
        """Path of a CA's certificates."""
        return self._used(self._export(source.secret, "ca", "ca.crt") if source.secret else source.file or "")

    def add(self, other: Material) -> None:
        """What another collected, too."""
        for secret, export in other.exports.items():
            self.exports.setdefault(secret, {}).update(export)
        self.files |= other.files

    def beside(self, source: Authority) -> None:
        """A CA that nginx has no use for, and that tests from this host need."""
        if source.secret:
            self._export(source.secret, "ca", "ca.crt")

    def _export(self, secret: SecretName, part: str, name: str) -> str:
        path = file_of(self.folder, secret, name)
        export = self.exports.setdefault(secret, {"secret": {"namespace": secret.namespace, "name": secret.name}})
        export[part] = path
        return path

    def _used(self, path: str) -> str:
        self.files.add(path)
        return path
