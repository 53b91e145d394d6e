# SPDX-License-Identifier: GPL-3.0-or-later
"""The JSON callback beside the one on stdout, so that one run shows both."""

from __future__ import annotations

from ansible_collections.ansible.posix.plugins.callback.json import CallbackModule as Json

DOCUMENTATION = """
name: json_report
type: notification
short_description: The JSON callback beside another
description: What ansible.posix.json prints, at the end of the run.
options:
  show_custom_stats:
    description: Not used.
    type: bool
    default: false
  json_indent:
    description: Spaces for indenting.
    type: int
    default: 4
"""


class CallbackModule(Json):  # type: ignore[misc]
    """``ansible.posix.json`` as an additional callback."""

    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "json_report"
