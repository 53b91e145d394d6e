# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the module tls_secret_info: in this process where that is the same."""

from __future__ import annotations

from ..modules import tls_secret_info
from ..plugin_utils._here import ApiModule


class ActionModule(ApiModule):
    """See the module tls_secret_info."""

    MODULE = tls_secret_info
