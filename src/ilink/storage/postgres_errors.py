"""What PostgreSQL and its driver say, in our words: what happened, to which database, what to do."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Final

import asyncpg

from ilink.errors import IlinkError, StoreCorruptError, StoreError, StoreUnavailableError

__all__ = ["DRIVER_ERRORS", "lost_connection", "nothing_happened", "translate", "translated"]

DRIVER_ERRORS: Final = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)
"""Everything the driver raises; its time limits are OSErrors too (TimeoutError)."""

_LOST: Final = (
    asyncpg.ConnectionDoesNotExistError,
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.InternalClientError,  # the connection was cut while the driver looked up a type on it
)


_DATA: Final = "22"
"""The class of errors about a value; their words have it behind a colon."""


def lost_connection(error: BaseException) -> bool:
    """Tell whether an error means that the connection is gone, and with it maybe the answer to what was asked."""
    if isinstance(error, asyncpg.InterfaceError):
        return "closed" in str(error)
    return isinstance(error, (*_LOST, ConnectionError, asyncio.IncompleteReadError))


def nothing_happened(error: BaseException) -> bool:
    """Tell whether an error means that the server undid everything and would take the same again."""
    return isinstance(error, asyncpg.SerializationError | asyncpg.DeadlockDetectedError)


@contextmanager
def translated(place: str, *, was_asked: bool = True) -> Generator[None]:
    """Raise what the driver raises inside as one of our errors; see `translate`."""
    try:
        yield
    except DRIVER_ERRORS as error:
        raise translate(error, place, was_asked=was_asked) from error


def translate(error: Exception, place: str, *, was_asked: bool = True) -> IlinkError:
    """Return our error for one of the driver's.

    Args:
        error: What the driver raised.
        place: Which database, for people.
        was_asked: Whether a statement was on its way, so that it may have been stored though no answer came.
    """
    if isinstance(error, asyncpg.PostgresError):
        code = getattr(error, "sqlstate", "") or ""
        _forget_values(error, code)
        for prefix, words in _WORDS:
            if code.startswith(prefix):
                return words(place, _said(error))
        return StoreError(f"{place} refused what was asked: {_said(error)}")
    if isinstance(error, TimeoutError):
        message = f"{place} did not answer in time; is it overloaded, or its machine stopped?"
        return StoreUnavailableError(message, is_uncertain=was_asked)
    if was_asked and lost_connection(error):
        return _cut(place, _said(error))
    if isinstance(error, OSError) or lost_connection(error):
        return StoreUnavailableError(
            f"{place} cannot be reached: {_said(error)}; start it, or mend host and port in the database URL"
        )
    return StoreError(f"{place}: {_said(error)}")


def _forget_values(error: asyncpg.PostgresError, code: str) -> None:
    """Take out what an error quotes of rows and arguments: a log shows the driver's error too, as the cause of ours."""
    error.detail = None  # "Failing row contains (…)"
    if code.startswith(_DATA) and error.args:
        error.args = (str(error.args[0]).partition(":")[0],)


def _said(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        # asyncio puts the address in the place of the words; that is told already.
        return os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def _cut(place: str, said: str) -> StoreError:
    return StoreUnavailableError(
        f"the connection to {place} was cut ({said}); whether the last write was stored is not known",
        is_uncertain=True,
    )


def _protocol(place: str, said: str) -> StoreError:
    if "startup parameter" not in said:
        return _cut(place, said)
    return StoreError(
        f"{place} refused a setting of the connection ({said}); if that is a pooler such as PgBouncer, name all that"
        " ilink sends in its ignore_startup_parameters, as docs/how-to/postgresql.md shows"
    )


def _unprepared(place: str, said: str) -> StoreError:
    return StoreError(
        f"{place} does not know a statement that was prepared ({said}): a pooler stands in between that keeps none; add"
        " prepared=off to the database URL, or let the pooler keep them (max_prepared_statements of PgBouncer 1.21)"
    )


def _restarting(place: str, said: str) -> StoreError:
    return StoreUnavailableError(f"{place} is being started or stopped ({said}); try again in a moment")


def _refused_user(place: str, said: str) -> StoreError:
    return StoreError(f"{place} refused the user: {said}; mend user and password in the database URL")


def _no_database(place: str, said: str) -> StoreError:
    return StoreError(f"{place}: {said}; create it (createdb), or mend the name in the database URL")


def _full(place: str, said: str) -> StoreError:
    return StoreUnavailableError(f"nothing was stored in {place}: its disk is full ({said}); make room there")


def _crowded(place: str, said: str) -> StoreError:
    return StoreUnavailableError(
        f"{place} takes no more connections ({said}); raise max_connections there, or lower pool= in the database URL"
    )


def _read_only(place: str, said: str) -> StoreError:
    return StoreUnavailableError(
        f"{place} is read-only ({said}): it is a replica, or was made read-only; point the database URL at the primary"
    )


def _not_allowed(place: str, said: str) -> StoreError:
    return StoreError(f"{place} does not let this user do that: {said}; grant it, or use the owner of the schema")


def _cancelled(place: str, said: str) -> StoreError:
    return StoreUnavailableError(f"{place} gave up what took too long or was cancelled ({said}); nothing was stored")


def _busy(place: str, said: str) -> StoreError:
    return StoreUnavailableError(f"{place} could not do this beside what others did ({said}); nothing was stored")


def _strange_schema(place: str, said: str) -> StoreError:
    return StoreCorruptError(f"{place} is not as this version of ilink left it: {said}; restore it from a backup")


def _damaged(place: str, said: str) -> StoreError:
    return StoreCorruptError(f"{place} is damaged: {said}; restore it from a backup")


def _ours(_place: str, said: str) -> StoreError:
    return StoreError(said)


_WORDS: Final[tuple[tuple[str, Callable[[str, str], StoreError]], ...]] = (
    ("IL", _ours),  # our own functions raise in words that need no more
    ("08P01", _protocol),
    ("08", _cut),
    ("26000", _unprepared),
    ("28", _refused_user),
    ("3D", _no_database),
    ("25006", _read_only),
    ("40", _busy),
    ("42P05", _unprepared),
    ("42501", _not_allowed),
    ("42P01", _strange_schema),
    ("42703", _strange_schema),
    ("42883", _strange_schema),
    ("3F", _strange_schema),
    ("53100", _full),
    ("53300", _crowded),
    ("55P03", _busy),
    ("57014", _cancelled),
    ("57P03", _restarting),
    ("57P", _cut),
    ("58030", _full),  # an input or output error: a quota shows as one
    ("XX", _damaged),
)
