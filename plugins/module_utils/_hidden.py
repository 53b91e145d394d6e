"""An option's text that never shows, not even in the representation of what holds it."""

from __future__ import annotations

from typing import Any


class Hidden(str):
    """Use as ``type`` in an argument_spec beside ``no_log``.

    AnsibleModule logs nested options to syslog by the representation of the list that holds them, in which newlines are
    written as backslash and n, so that its masking of exact values misses a key. A text that represents itself as hidden closes that.
    """

    def __new__(cls, value: Any) -> Hidden:
        """Only text is taken: the representation of anything else could hold it."""
        if not isinstance(value, (str, bytes)):
            raise TypeError("must be text")
        return super().__new__(cls, value if isinstance(value, str) else value.decode("utf-8"))

    def __repr__(self) -> str:
        return "'(hidden)'"
