"""Which part of the work the processes of one machine do, as it is said on a command line."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Final

from ilink.errors import ConfigError
from ilink.fleet.settings import PLACE_VARIABLE
from ilink.storage.roles import Role

__all__ = ["ROLE_VARIABLE", "place_among_several", "read_roles"]

ROLE_VARIABLE: Final = "ILINK_ROLE"


def read_roles(names: Iterable[str]) -> tuple[Role, ...]:
    """Return the roles that are named, each once, in their order; everything when none is.

    Args:
        names: Each one role or several with commas between.

    Raises:
        ConfigError: There is no such role, or one process would do everything beside those that do a part.
    """
    given = [name.strip().lower() for each in names for name in each.split(",") if name.strip()]
    try:
        roles = tuple(dict.fromkeys(Role(name) for name in given)) or (Role.ALL,)
    except ValueError:
        wrong = next(name for name in given if name not in set(Role))
        message = f"there is no role {wrong!r}; the roles are {', '.join(Role)}"
        raise ConfigError(message) from None
    if Role.ALL in roles and len(roles) > 1:
        message = "the role all is everything; give either that, or some of poller, handler and sender"
        raise ConfigError(message)
    return roles


def place_among_several(environ: Mapping[str, str] = os.environ) -> int | None:
    """Return which of the processes that one started this is, from 0; None when nobody watches over it."""
    place = environ.get(PLACE_VARIABLE)
    return None if place is None else int(place)
