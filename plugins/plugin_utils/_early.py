# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run over routes works with, imported once.

Ansible starts a process for each task and host. What an action imports as it is loaded they all have; what they import themselves, each
imports anew, a tenth of a second and more every time. A library that is missing is said by who needs it.
"""

from __future__ import annotations

from contextlib import suppress

from ..module_utils._nginx.write import offload as _offload  # noqa: F401
from ..module_utils._probe import session as _session  # noqa: F401
from ..module_utils._proof import entry as _entry  # noqa: F401
from ..module_utils._routes import reading as _reading  # noqa: F401

with suppress(ImportError):
    from OpenSSL import crypto as _crypto  # noqa: F401
