# SPDX-License-Identifier: GPL-3.0-or-later
"""How nginx comes to read files in its ``stream`` context, which no distribution's main file has.

A second ``stream`` block is an error, so ours goes into one of the user's where there is one; else it is a block of ours, in a folder that
the main file includes outside of all blocks (Debian's ``modules-enabled``). The main file itself is never changed.
"""

from __future__ import annotations

import os

from ..._errors import EdgeError
from ..read.syntax import Directive, matching, parse, split_dump

#: The sub-folder whose ``*.conf`` are read in the stream context.
FOLDER = "stream"
NO_MODULE = "NO_STREAM_MODULE"


def used(paths: list[str]) -> list[str]:
    """Those of a generation's files that are read in the stream context."""
    return [path for path in paths if os.path.dirname(path) == FOLDER and path.endswith(".conf")]


def advice(complaints: list[str]) -> tuple[str, str]:
    """What to do, and the error's code, where nginx complains because it has no stream module; else both empty."""
    if any('unknown directive "stream"' in line for line in complaints):
        return "Install its stream module (libnginx-mod-stream on Debian, nginx-mod-stream on Red Hat)", NO_MODULE
    return "", ""


def entry(dump: str, conf: str, name: str, current: str, ours: list[str]) -> tuple[str, str]:
    """The file that lets nginx read ``<current>/stream/*.conf``, and its text.

    :param dump: what ``nginx -T`` says of the configuration as it is.
    :param conf: the configuration folder; the file must stand below it.
    :param ours: files and folders of our own, which don't count.
    :raises EdgeError: where no folder is included in the right place, with the line to add.
    """
    files = {path: text for path, text in split_dump(dump).items() if not any(path == own or path.startswith(own + "/") for own in ours)}
    include = f"include {current}/{FOLDER}/*.conf;\n"
    blocks = [one for path, text in files.items() for one in parse(text, path) if one.name == "stream" and one.block is not None]
    for block in blocks:
        if place := _place(block.find("include"), conf, name):
            return place, include
    main = next(iter(files))
    if blocks:
        raise EdgeError(
            "this stream block includes no folder for our file", where=f"{blocks[0].file}:{blocks[0].line}",
            fix="Add `include stream.d/*.conf;` to it; nothing was touched",
        )  # fmt: skip
    if place := _place([one for one in parse(files[main], main) if one.name == "include"], conf, name):
        return place, f"stream {{\n    {include}}}\n"
    raise EdgeError(
        "it has no stream block, and includes no folder outside of its blocks for one", where=main,
        fix="Add `stream { include stream.d/*.conf; }` at its end; nothing was touched",
    )  # fmt: skip


def _place(includes: list[Directive], conf: str, name: str) -> str:
    """The path below ``conf`` at which the first of these that can would read ``<name>.conf``."""
    for directive in includes:
        pattern = os.path.normpath(os.path.join(conf, directive.args[0])) if directive.args else ""
        path = os.path.join(os.path.dirname(pattern), f"{name}.conf")
        if path.startswith(conf.rstrip("/") + "/") and matching(pattern, [path]) and pattern != path:
            return path
    return ""
