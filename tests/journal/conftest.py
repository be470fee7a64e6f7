from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from journal_house import BOT, OpenJournal, postgres_journals, sqlite_journals

from ilink.storage.journal import Journal


@pytest.fixture(scope="session")
def journals_url(make_postgres_url: Callable[[], str]) -> str:
    """A schema that tests of journals share, because making one takes longer than most of them."""
    return make_postgres_url()


@pytest.fixture(params=["sqlite", "postgres"])
async def open_journal(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[OpenJournal]:
    if request.param == "sqlite":
        async with sqlite_journals(tmp_path) as open_one:
            yield open_one
    else:
        async with postgres_journals(request.getfixturevalue("journals_url")) as open_one:
            yield open_one


@pytest.fixture
async def journal(open_journal: OpenJournal) -> AsyncIterator[Journal]:
    async with open_journal(BOT) as journal:
        await journal.adopt()
        yield journal
