# SPDX-License-Identifier: GPL-3.0-or-later
"""From a plan and the texts that templates made of it to the parts that module ``nginx_config`` takes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ..._errors import EdgeError

#: The part with a list's files of its own; no route can have this name.
EXTRA = "extra_files"
#: What stands before each text.
_MARK = re.compile(r"^# file (\S+)\n", re.MULTILINE)


def texts(plan: Mapping[str, Any], written: str) -> dict[str, str]:
    """The text of each file, by its id.

    :param written: by the templates: each text after a line with its id.
    :raises EdgeError: a text is missing.
    """
    pieces = _MARK.split(written)
    found = {file: text.strip("\n") + "\n" for file, text in zip(pieces[1::2], pieces[2::2])}
    missing = [file["id"] for file in (*plan["http"], *plan["stream"]) if file["id"] not in found]
    if missing:
        raise EdgeError(
            f"the template wrote no {missing[0]}", where="nginx_offload_template",
            fix="Write each of nginx_offload_plan.http after a line `# file <id>`, as the role's own routes.conf.j2 does", code="BAD_ROUTE",
        )  # fmt: skip
    return found


def parts(plan: Mapping[str, Any], written: str) -> list[dict[str, Any]]:
    """One part for each route, and one for a list's own files.

    :raises EdgeError: see :func:`texts`.
    """
    found = texts(plan, written)
    paths = {file["id"]: file["path"] for file in (*plan["http"], *plan["stream"])}
    made = [
        {
            **part,
            "files": [{"path": paths[file], "content": found[file]} for file in part["files"]],
            "shared": [_shared(shared, found) for shared in part["shared"]],
        }
        for part in plan["parts"]
    ]
    return [*made, {"name": EXTRA, "files": plan["extra"]}] if plan["extra"] else made


def _shared(shared: Mapping[str, Any], found: Mapping[str, str]) -> dict[str, Any]:
    instead = [{"present": each["present"], "content": found[each["id"]]} for each in shared["instead"]]
    return {"path": shared["path"], "content": found[shared["id"]], "rank": shared["rank"], "instead": instead}
