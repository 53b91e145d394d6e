# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates as facts: parse, describe, verify as nginx or as Envoy would, make keys and sign.

Pure functions over PEM text, DER bytes and `cryptography`'s objects; runs on the controller. What verifies::

    facts(certificate) -> dict                                                             facts.py
    verify(chain, ca, rules="nginx", purpose="server", name=None, now=None) -> Verdict     chain.py
    new_ca(...), new_leaf(...)                                                             sign.py

Wherever a certificate is taken, PEM text, DER bytes or a `cryptography` certificate will do; wherever several are taken,
PEM text with several blocks or a list of the three. No exception and no finding ever carries a byte of what was parsed.
"""
