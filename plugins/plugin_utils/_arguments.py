# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks a task's arguments in an action plugin, as AnsibleModule checks a module's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.module_utils.common.parameters import remove_values
from ansible.module_utils.errors import UnsupportedError

from ..module_utils._plain import plain


class Refused(Exception):
    """The arguments are wrong; the text says how, as Ansible says it of a module's."""


class Arguments:
    """A task's arguments as plain data: Ansible's own containers take a second to copy where there are some hundred routes."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        self.values: dict[str, Any] = plain(given)
        #: of options that are ``no_log``, once :meth:`check` has seen them
        self.secret: set[str] = set()

    def check(self, name: str, specification: dict[str, Any], rules: Mapping[str, Any]) -> None:
        """Convert the values and fill in defaults.

        :param name: the module, for the message.
        :param rules: what AnsibleModule takes besides: mutually_exclusive, required_if, ...
        :raises Refused: they are not as specified.
        """
        validated = ArgumentSpecValidator(specification, **rules).validate(self.values)
        self.values.update(validated.validated_parameters)
        # as AnsibleModule reads it; nothing public says it
        self.secret.update(validated._no_log_values)
        if validated.error_messages:
            unknown = isinstance(validated.errors[0], UnsupportedError)
            said = (f"Unsupported parameters for ({name}) module: " if unknown else "") + validated.errors.msg
            raise Refused(remove_values(said, self.secret))
