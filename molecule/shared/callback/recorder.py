# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes what each run changed, or would have changed, to a file: one JSON line for each task, host and item."""

from __future__ import annotations

import json
import os
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: recorder
type: aggregate
short_description: Records what a run changes
description: For scenarios that compare runs. Needs E(EDGEMESH_RECORD), the file to write to.
"""
# what would be done counts as done: check mode is to predict exactly that
DONE = {"would_create": "created", "would_change": "changed", "would_delete": "deleted", "recreated": "changed"}


class CallbackModule(CallbackBase):
    """Ansible's entry point."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "recorder"
    CALLBACK_NEEDS_ENABLED = True

    def _note(self, result: Any, item: str = "") -> None:
        outcome, path = result.result, os.environ.get("EDGEMESH_RECORD")
        if not path or ("results" in outcome and result.task.loop):
            return
        objects = [
            f"{each.get('kind', 'Secret')} {each.get('namespace') or ''}/{each['name']} {DONE.get(each['action'], each['action'])}"
            for each in outcome.get("results") or []
            if isinstance(each, dict) and each.get("changed") and "action" in each
        ]
        line = {
            "host": result.host.name,
            "task": result.task.get_name(),
            "item": item,
            "changed": bool(outcome.get("changed")),
            "objects": sorted(objects),
        }
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def v2_runner_on_ok(self, result: Any) -> None:
        """A task that succeeded."""
        self._note(result)

    def v2_runner_item_on_ok(self, result: Any) -> None:
        """An item of a loop that succeeded."""
        self._note(result, str(result.result.get("_ansible_item_label") or result.result.get("item") or ""))
