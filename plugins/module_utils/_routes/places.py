# SPDX-License-Identifier: GPL-3.0-or-later
"""The paths of Secrets' material on a host."""

from __future__ import annotations

from .parts import SecretName

#: The default of the folder.
TLS_DIR = "/etc/edgemesh/tls"


def file_of(folder: str, secret: SecretName, part: str) -> str:
    """The path of one file of a Secret.

    :param folder: of all material, by default :data:`TLS_DIR`.
    :param part: ``tls.crt``, ``tls.key`` or ``ca.crt``.
    """
    return f"{folder}/{secret.namespace}/{secret.name}/{part}"
