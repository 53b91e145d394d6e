# SPDX-License-Identifier: GPL-3.0-or-later
"""A check: the shape of a claim that a kind of path makes about each of its routes.

A refusal proves something only if the same path accepts the right thing. So a check names its *control*: the check that
differs from it in exactly one thing. Where the control isn't ok, the check is not tested, which also leaves one root
cause in the report instead of a dozen red lines.
"""

from __future__ import annotations

from dataclasses import dataclass

POSITIVE, NEGATIVE = "positive", "negative"
#: As :attr:`Check.hop`: about the routes of other lists on a host of the path, which is no hop of it.
NEIGHBOURS = "neighbours"
#: Its heading.
NEIGHBOURS_TITLE = "Other lists' routes on the same host"
#: As :attr:`Check.session`: what the check's probe saw of TLS.
TLS = "TLS"


@dataclass(frozen=True)
class Check:
    """One kind of proof.

    :param name: stable name, ``<where>.<what>``; the anchor in docs/proof.md.
    :param hop: the key of the hop that it is about, or :data:`NEIGHBOURS`.
    :param title: the claim, as a reader of the report wants it.
    :param proves: why the result is evidence for the claim; one sentence.
    :param control: the check that must be ok at the same place for this one to mean anything; "" for none.
    :param judge: the rule; "" takes the probe's own verdict.
    :param required: when it can't be tested, the route isn't proven.
    :param session: what the hop's session is called where this check holds, such as "mesh mTLS", or :data:`TLS`; "" where it doesn't tell.
    :param telling: its observation is worth a line in the picture of the path.
    :param presents: who shows the certificates that its probe sees; "" keeps them out of the report.
    """

    name: str
    hop: str
    polarity: str
    title: str
    proves: str
    control: str = ""
    judge: str = ""
    required: bool = True
    session: str = ""
    telling: bool = False
    presents: str = ""
