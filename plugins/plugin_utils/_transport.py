# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys in a module's arguments, and the ways by which Ansible would leave them where others can read them."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from typing import Any

from ansible import constants

from ..module_utils._errors import EdgeError

_KEY = "PRIVATE KEY-----"
#: a PEM boundary begins with five dashes, and a kubeconfig and a Secret hold it in base64
_ENCODED = base64.b64encode(b"-----BEGIN ").decode()[:14]
_KUBECONFIG_KEYS = frozenset({"client-key-data", "token", "password"})


def refuse_leaky_transport(action: Any) -> None:
    """Call this before key material goes to the host.

    :param action: the action plugin that sends it.
    :raises EdgeError: BECOME_LEAKS, FILES_KEPT.
    """
    if constants.DEFAULT_KEEP_REMOTE_FILES:
        raise EdgeError(
            "a private key is not sent while Ansible keeps the files that it makes on the host",
            why="the key would stay there in the module's file",
            fix="Turn keep_remote_files off (ANSIBLE_KEEP_REMOTE_FILES=false)",
            code="FILES_KEPT",
        )
    if action._is_become_unprivileged() and not action._is_pipelining_enabled("new", action._task.async_val):
        raise EdgeError(
            "a private key is not sent to an unprivileged become_user without pipelining",
            why="Ansible would put it into a temporary file that another user can read",
            fix="Turn pipelining on (ANSIBLE_PIPELINING=true), become root and set owner and group, or connect as that user",
            code="BECOME_LEAKS",
        )


def has_key(value: Any) -> bool:
    """Whether there is a private key in the arguments: as PEM, encoded once more, or as a credential of a kubeconfig."""
    return any(_KEY in text or _ENCODED in text for text in _texts(value))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for name, item in value.items():
            if name in _KUBECONFIG_KEYS and item:
                yield _KEY
            yield from _texts(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, str):
        yield value
