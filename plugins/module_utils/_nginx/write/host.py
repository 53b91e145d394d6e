# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run of a list means for one host: the routes that it serves there, those that go, and what other lists have there already."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..._errors import EdgeError
from ..._lists import Owner, Run
from ..._routes.reading import Reading
from ..change.merge import refuse
from ..change.parts import Change, Part
from .blocks import Settings
from .offload import as_dict, offload
from .parts import EXTRA


def for_host(
    reading: Reading,
    groups: Sequence[str],
    there: Sequence[Mapping[str, Any]],
    upstreams: Mapping[str, Sequence[Any]],
    settings: Settings,
    extra: Sequence[Mapping[str, Any]] = (),
    absent: bool = False,
) -> dict[str, Any]:
    """The plan for a host, as plain data (see the filter ``nginx_offload``).

    :param groups: the host's; it serves the routes whose ``on`` is one of them.
    :param there: the parts on the host, see module ``nginx_info``.
    :param extra: the list's own files. They come with its first route on the host, and go with its last.
    :param absent: the whole list goes.
    :raises EdgeError: as :func:`offload` does; OTHER_LIST where another list has a host or a port; where there is nothing to do.
    """
    wanted = [] if absent else [route for route in reading.routes if route.on in groups]
    run = Run.teardown(reading.list_name) if absent else reading.run
    here = [Part(Owner(each["list"], each["name"]), claims=each["claims"], agrees=each["agrees"]) for each in there]
    stay = [part for part in here if not run.takes(part.owner)]
    if not (wanted or absent or reading.absent or reading.exclusive or len(stay) < len(here)):
        raise EdgeError(
            "none of the routes is for this host", where="edge_routes", why=f"its groups are {', '.join(groups)}" if groups else "",
            fix="Set `on` of a route to one of its groups, or nginx_offload_state to absent", code="BAD_ROUTE",
        )  # fmt: skip
    made = offload(wanted, upstreams, settings)
    refuse(stay, Change(run, tuple(Part(Owner(run.list_name, part.name), claims=part.claims, agrees=part.agrees) for part in made.parts)))
    others = [part for part in stay if part.owner.list_name == run.list_name and part.owner.route != EXTRA]
    gone = [EXTRA] if not extra or not (wanted or others) else []
    return {
        **as_dict(made),
        "list": run.list_name,
        "absent": [*reading.absent, *(route.name for route in reading.routes if route.on not in groups), *gone],
        "exclusive": run.exclusive,
        "extra": [*extra] if wanted else [],
    }
