# SPDX-License-Identifier: GPL-3.0-or-later
"""A client certificate that nobody trusts: who still gets in with it proves that mutual TLS is not enforced."""

from __future__ import annotations

from datetime import timedelta

from .._x509 import clock, pem, sign

_HOUR = timedelta(hours=1)


def foreign_certificate() -> str:
    """PEM of a fresh certificate, good in every respect but its issuer, followed by its key. Valid for an hour; never stored."""
    start, days = clock.now() - _HOUR, 2 * _HOUR / timedelta(days=1)  # the gateway's clock may be behind
    ca = sign.new_ca("edgemesh foreign CA", days, now=start)
    made = sign.new_leaf(ca, ["foreign.invalid"], "client", days, common_name="edgemesh foreign client", now=start)
    return pem.dump(made.certs[:1]) + made.key_pem().decode("ascii")
