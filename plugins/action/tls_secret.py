# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the module tls_secret: in this process where that is the same."""

from __future__ import annotations

from ..modules import tls_secret
from ..plugin_utils._here import ApiModule


class ActionModule(ApiModule):
    """See the module tls_secret."""

    MODULE = tls_secret
