"""The certificates, keys and CAs that a configuration refers to: which Secret becomes which file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Optional

from ... import _values as values
from ..._errors import EdgeError


class Material:
    """Collects which Secrets must come to the host as which files."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.exports: dict[tuple[str, str], dict[str, Any]] = {}
        self.files: set[str] = set()

    def pair(self, source: Optional[Mapping[str, Any]], where: str) -> tuple[str, str]:
        """Paths of a certificate and its key."""
        if not source:
            raise EdgeError("is missing", where=where, fix="Name a Secret, or cert_file and key_file", code="BAD_ROUTE")
        if source["secret"]:
            return self._from_secret(source["secret"], where, "cert", "tls.crt"), self._from_secret(
                source["secret"], where, "key", "tls.key"
            )
        return self._file(source["cert_file"], f"{where}.cert_file"), self._file(source["key_file"], f"{where}.key_file")

    def authority(self, source: Mapping[str, Any], where: str) -> str:
        """Path of a CA's certificates."""
        if source["secret"]:
            return self._from_secret(source["secret"], where, "ca", "ca.crt")
        return self._file(source["file"], f"{where}.file")

    def beside(self, source: Mapping[str, Any], where: str) -> None:
        """A CA that nginx has no use for, and whoever tests from this host has."""
        if source["secret"]:
            self._export(source["secret"], where, "ca", "ca.crt")

    def _from_secret(self, secret: Mapping[str, Any], where: str, part: str, name: str) -> str:
        return self._file(self._export(secret, where, part, name), where)

    def _export(self, secret: Mapping[str, Any], where: str, part: str, name: str) -> str:
        namespace, title = (values.name(secret[key], f"{where}.secret.{key}") for key in ("namespace", "name"))
        path = values.file_path(f"{self.folder}/{namespace}/{title}/{name}", where)
        export = self.exports.setdefault((namespace, title), {"secret": {"namespace": namespace, "name": title}})
        export[part] = path
        return path

    def _file(self, path: Any, where: str) -> str:
        checked = values.file_path(path, where)
        self.files.add(checked)
        return checked
