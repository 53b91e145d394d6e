# SPDX-License-Identifier: GPL-3.0-or-later
"""The forms in which a kubeconfig may be given: a path, a dictionary, or its text."""

from __future__ import annotations

import os
from typing import Any

from ._errors import EdgeError


def kubeconfig_path(options: dict[str, Any]) -> str:
    """Path of the file, or files with ``:`` between them; empty when the kubeconfig itself is given."""
    source = options.get("kubeconfig")
    if source is None:
        return os.environ.get("KUBECONFIG") or "~/.kube/config"
    return source if isinstance(source, str) and not is_text(source) else ""


def kubeconfig_content(source: Any) -> Any:
    """A kubeconfig given as a dictionary, or as its text.

    :raises EdgeError: for text that is no YAML.
    """
    if not is_text(source):
        return source
    import yaml

    try:
        return yaml.safe_load(source)
    except yaml.YAMLError as error:
        raise not_yaml(error, "kubeconfig") from None


def is_text(source: Any) -> bool:
    """Whether this is a kubeconfig itself, rather than its path or a dictionary."""
    return isinstance(source, str) and ("\n" in source or source.lstrip().startswith("{"))


def not_yaml(error: Any, where: str) -> EdgeError:
    """Says where, and nothing else: the parser's own message quotes the line, which may hold a token."""
    mark = getattr(error, "problem_mark", None)
    why = f"line {mark.line + 1}, column {mark.column + 1}" if mark else ""
    return EdgeError("this is not YAML", where=where, why=why, code="NO_CONFIGURATION")
