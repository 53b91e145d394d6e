# SPDX-License-Identifier: GPL-3.0-or-later
"""What to do about a denial by SELinux, which a configuration test doesn't meet: only the service runs in nginx's domain.

Labels themselves need no doing of ours. Every file is made in the folder where it stays, so it bears the label that the
policy gives to what is made there, as nginx's own files do.
"""

from __future__ import annotations

import re

_ENFORCE = "/sys/fs/selinux/enforce"
_BIND = re.compile(r"bind\(\) to \S*?:(\d+) failed \(13: ")
_FILE = re.compile(r'"(/[^"\n]+)"[^\n]*[Pp]ermission denied')


def enforcing(path: str = _ENFORCE) -> bool:
    """Whether SELinux denies anything on this host."""
    try:
        with open(path, encoding="ascii") as file:
            return file.read().strip() == "1"
    except OSError:
        return False


def advice(lines: list[str]) -> str:
    """How to permit what nginx's log says was denied; empty where it says nothing of the kind."""
    text = "\n".join(lines)
    if port := _BIND.search(text):
        return f"Let nginx listen there: semanage port -a -t http_port_t -p tcp {port[1]} (SELinux is enforcing)"
    if file := _FILE.search(text):
        return f"Give {file[1]} a label that nginx may read: restorecon -v {file[1]} (SELinux is enforcing)"
    return ""
