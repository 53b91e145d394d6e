# SPDX-License-Identifier: GPL-3.0-or-later
"""Every file of code says under which licence it is."""

from __future__ import annotations

from pathlib import Path

CHECKOUT = Path(__file__).parents[2]
LINE = "# SPDX-License-Identifier: GPL-3.0-or-later"


def test_every_python_file_says_its_licence_first() -> None:
    folders = [CHECKOUT / name for name in ("plugins", "lab", "tests", "molecule")]
    files = [file for folder in folders for file in folder.rglob("*.py") if file.stat().st_size]
    first = {file: next(line for line in file.read_text().splitlines() if not line.startswith("#!")) for file in files}
    assert [str(file.relative_to(CHECKOUT)) for file, line in first.items() if line != LINE] == []


def test_every_task_file_says_its_licence_first() -> None:
    files = [file for pattern in ("roles/*/*/*.yml", "playbooks/*.yml", "examples/**/*.yml") for file in CHECKOUT.glob(pattern)]
    assert [str(file.relative_to(CHECKOUT)) for file in files if not file.read_text().startswith(LINE)] == []
