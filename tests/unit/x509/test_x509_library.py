# SPDX-License-Identifier: GPL-3.0-or-later
"""A controller without cryptography."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

BLOCKED = """
import importlib, pathlib, sys
sys.modules["cryptography"] = None
for folder in ("_x509", "_secrets", "_probe", "_proof", "_proof/vm_nginx", "_diagnose"):
    for file in sorted(pathlib.Path("plugins/module_utils", folder).glob("*.py")):
        importlib.import_module(f"plugins.module_utils.{folder.replace('/', '.')}.{file.stem}")
from plugins.module_utils._x509 import library
library.require()
"""


def test_everything_loads_and_the_first_use_says_what_to_install() -> None:
    done = subprocess.run([sys.executable, "-c", BLOCKED], cwd=Path(__file__).parents[3], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith(
        "EdgeError: the Python that runs this task's work, usually the controller's: the Python library cryptography is missing. "
        "Install it there: pip install cryptography."
    ), done.stderr
