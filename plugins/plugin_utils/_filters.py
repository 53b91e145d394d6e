# SPDX-License-Identifier: GPL-3.0-or-later
"""What the filters share.

To find one filter Ansible imports every file of filters, and in every worker anew: each imports what it works with only when it is called.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError

from ..module_utils._errors import EdgeError
from ..module_utils._plain import plain


def answer(work: Callable[..., Any], *arguments: Any) -> Any:
    """What ``work`` makes of the arguments as plain data.

    :raises AnsibleFilterError: what it refuses, and why.
    """
    try:
        return work(*map(plain, arguments))
    except EdgeError as error:
        raise AnsibleFilterError(error.sentence) from None
