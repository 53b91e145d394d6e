"""The one way from a user's variables into the schema of gateways and routes."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleFilterError
from jinja2.runtime import Context
from jinja2.utils import missing

from ..module_utils._plain import plain
from ._filters import answer


def complete_routes(context: Context, value: Any, gateways: Any = None, namespace: Any = None, on: Any = None) -> list[dict[str, Any]]:
    """Complete routes from what a user wrote; see the filter ``routes``.

    :raises AnsibleFilterError: naming the entry and the field.
    """
    from ..module_utils._routes import survey
    from ..module_utils._routes.load import NAMESPACE
    from ..module_utils._routes.load import load_dicts as load

    def variable(name: str) -> Any:
        found = context.resolve_or_missing(name)
        try:
            return None if found is missing else plain(found)
        except TypeError as error:
            raise AnsibleFilterError(f"variable {name}: {error}") from None

    flat = {name: variable(name) for name in survey.VARIABLES}
    given = gateways if gateways is not None else variable("edge_gateways")
    made: list[dict[str, Any]] = answer(load, value, given, flat, namespace or variable("edge_namespace") or NAMESPACE)
    groups = plain(on)
    return made if groups is None else [route for route in made if route["on"] in ([groups] if isinstance(groups, str) else groups)]
