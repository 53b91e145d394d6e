# SPDX-License-Identifier: GPL-3.0-or-later
"""Takes a generation of the time before there were lists apart, so that a run changes of it what it names and leaves the rest serving."""

from __future__ import annotations

import dataclasses

from ..._lists import DEFAULT, Owner
from .desired import Desired
from .parts import FILES, Change, Part


def taken_apart(held: Desired) -> Desired:
    """The same as parts of list ``default``."""
    parts = (Part(Owner(route=FILES), held.files, depends_on=held.depends_on),)
    sites = {DEFAULT: held.default_site} if held.default_site != "keep" else {}
    return dataclasses.replace(held, parts=parts, default_sites=sites)


def settled(before: Desired, change: Change) -> Desired:
    """What of ``before`` this change may find."""
    return before
