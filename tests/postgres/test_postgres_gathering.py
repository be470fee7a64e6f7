"""What many ask PostgreSQL for while it is at work shares a statement, and each is answered as if it had been alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from ilink.errors import StoreError, StoreUnavailableError
from ilink.storage.gathering_postgres import PostgresGathering
from ilink.storage.postgres import PostgresDatabase
from ilink.storage.postgres_migrations import Migration

STEPS = (
    Migration(
        1,
        "notes",
        """
        CREATE TABLE notes (number bigint, name text UNIQUE);
        CREATE TABLE units (size bigint);
        CREATE FUNCTION note(p_number bigint, p_name text) RETURNS bigint LANGUAGE plpgsql AS $$
        DECLARE noted bigint;
        BEGIN
            INSERT INTO notes VALUES (p_number, p_name);
            SELECT count(*) INTO noted FROM notes;
            RETURN noted;
        END $$;
        """,
    ),
)
NOTE = (
    "WITH unit AS (INSERT INTO units SELECT cardinality($1::bigint[]))"
    " SELECT place, a, note(a, b) FROM unnest($1::bigint[], $2::text[]) WITH ORDINALITY AS given(a, b, place)"
)


@pytest.fixture
async def database(postgres_url: str) -> AsyncIterator[PostgresDatabase]:
    async with PostgresDatabase(postgres_url, steps=STEPS) as database:
        yield database


async def sizes(database: PostgresDatabase) -> list[int]:
    return [row[0] for row in await database.read("SELECT size FROM units ORDER BY ctid")]


async def names(database: PostgresDatabase) -> list[str]:
    return [row[0] for row in await database.read("SELECT name FROM notes ORDER BY ctid")]


async def test_what_is_asked_for_at_once_shares_a_statement_and_each_gets_its_own_row(
    database: PostgresDatabase,
) -> None:
    notes = PostgresGathering(database, NOTE)
    rows = await asyncio.gather(*(notes.write(number, f"name {number}") for number in (3, 1, 2)))
    assert [row[1] for row in rows] == [3, 1, 2]
    assert [row[2] for row in rows] == [3, 1, 2], "each sees what those before it did, in the order of their rows"
    assert await sizes(database) == [3]


async def test_what_comes_while_a_statement_is_under_way_shares_the_next(database: PostgresDatabase) -> None:
    notes = PostgresGathering(database, NOTE)
    async with database.transaction() as other:
        await other.execute("LOCK TABLE units")
        first = notes.write(1, "first")
        await asyncio.sleep(0)
        later = [notes.write(1, name) for name in "abc"]
    await asyncio.gather(first, *later)
    assert await sizes(database) == [1, 3]
    assert await names(database) == ["first", "a", "b", "c"]


async def test_so_many_that_the_first_would_wait_long_become_several(database: PostgresDatabase) -> None:
    notes = PostgresGathering(database, NOTE)
    await asyncio.gather(*(notes.write(1, str(number)) for number in range(150)))
    assert await sizes(database) == [64, 64, 22]
    assert await names(database) == [str(number) for number in range(150)]


async def test_one_that_is_refused_fails_alone(database: PostgresDatabase) -> None:
    notes = PostgresGathering(database, NOTE)
    answers = await asyncio.gather(*(notes.write(1, name) for name in ("a", "b", "a", "c")), return_exceptions=True)
    assert [isinstance(answer, StoreError) for answer in answers] == [False, False, True, False]
    assert await names(database) == ["a", "b", "c"]


async def test_all_are_told_that_it_is_not_known_what_became_of_them(database: PostgresDatabase) -> None:
    notes = PostgresGathering(database, NOTE)
    async with database.transaction() as other:
        await other.execute("LOCK TABLE notes")
        writes = [notes.write(1, name) for name in "ab"]
        while not (  # noqa: ASYNC110  # the database tells nobody
            stuck := await other.fetch(
                "SELECT pid FROM pg_locks WHERE NOT granted AND relation = 'notes'::regclass AND locktype = 'relation'"
            )
        ):
            await asyncio.sleep(0.01)
        await other.execute("SELECT pg_terminate_backend($1)", stuck[0][0])
        answers = await asyncio.gather(*writes, return_exceptions=True)
    assert [isinstance(answer, StoreUnavailableError) and answer.is_uncertain for answer in answers] == [True, True]
    assert await names(database) == [], "nothing is tried again that may have been stored"


async def test_a_caller_that_no_longer_waits_keeps_nothing_from_others(database: PostgresDatabase) -> None:
    notes = PostgresGathering(database, NOTE)
    gone, stays = notes.write(1, "gone"), notes.write(2, "stays")
    gone.cancel()
    assert (await stays)[1] == 2
    assert await names(database) == ["gone", "stays"]


async def test_what_was_asked_for_is_stored_before_it_is_closed(database: PostgresDatabase) -> None:
    notes = PostgresGathering(database, NOTE)
    written = notes.write(1, "last words")
    await notes.aclose()
    assert written.done()
    assert await names(database) == ["last words"]
