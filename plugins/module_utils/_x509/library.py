# SPDX-License-Identifier: GPL-3.0-or-later
"""Python's ``cryptography``, which only the controller has to have, from the one place that may import it.

Where it is missing this module, and all that is built on it, still loads; whoever is about to use it calls :func:`require`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .._errors import EdgeError

_missing = ""

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
else:

    class _Missing:
        """Stands for whatever isn't there: module-level tables and defaults may be made of it."""

        def __getattr__(self, name: str) -> Any:
            if name.startswith("__"):
                raise AttributeError(name)
            return _Missing()

        def __call__(self, *_arguments: Any, **_named: Any) -> Any:
            return _Missing()

    try:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
        from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
    except ImportError as error:
        _missing = error.name or "cryptography"
        x509 = hashes = serialization = ec = ed448 = ed25519 = rsa = Encoding = PublicFormat = ExtendedKeyUsageOID = NameOID = _Missing()


def require() -> None:
    """:raises EdgeError: where ``cryptography`` can't be imported."""
    if _missing:
        raise library_missing(_missing)


def library_missing(name: str) -> EdgeError:
    """What to say when a Python library isn't there; ``name`` is the module that couldn't be imported."""
    package = {"OpenSSL": "pyOpenSSL"}.get(name, name).split(".")[0]
    return EdgeError(
        f"the Python library {package} is missing",
        where="the Python that runs this task's work, usually the controller's",
        fix=f"Install it there: pip install {package}",
        code="LIBRARY_MISSING",
    )


__all__ = [
    "Encoding",
    "ExtendedKeyUsageOID",
    "NameOID",
    "PublicFormat",
    "ec",
    "ed448",
    "ed25519",
    "hashes",
    "library_missing",
    "require",
    "rsa",
    "serialization",
    "x509",
]
