# SPDX-License-Identifier: GPL-3.0-or-later
"""proof_report as a whole: it works on the controller, with what the play has found out."""

from __future__ import annotations

from typing import Any

from ..module_utils._proof import entry
from ..module_utils._x509 import library
from ..plugin_utils._action import EdgeAction

ARGUMENTS: dict[str, Any] = {
    "routes": {"type": "str", "required": True},
    "seen": {"type": "list", "elements": "str", "required": True},
    "answers": {"type": "list", "elements": "dict", "default": []},
    "run": {"type": "str", "default": ""},
    "log": {"type": "list", "elements": "dict", "default": []},
    "absent": {"type": "list", "elements": "str", "default": []},
    "minimum": {
        "type": "dict",
        "apply_defaults": True,
        "options": {"positive": {"type": "int", "default": 5}, "negative": {"type": "int", "default": 6}},
    },
    "report_dir": {"type": "path", "default": ""},
}


class ActionModule(EdgeAction):
    """See the module proof_report."""

    ARGUMENTS = ARGUMENTS

    def work(self, params: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Judge; write the report unless this is a check."""
        library.require()
        model = entry.reported(params, check=self.check_mode)
        place = {} if self.check_mode else {"path": entry.written(model, params["report_dir"])}
        return {"changed": False, **model, **place}
