"""What only the journal in SQLite promises: how long it keeps what is finished, to the millisecond."""

from __future__ import annotations

from pathlib import Path

from journal_house import BOT, arrival, draft, sqlite_journals

from ilink.wire.ids import Cursor


async def test_what_is_finished_is_kept_until_its_time_and_no_longer(tmp_path: Path) -> None:
    async with sqlite_journals(tmp_path) as open_journal, open_journal(BOT) as journal:
        await journal.adopt()
        stored = await journal.ingest([arrival("m:1")], cursor=Cursor("c"), generation=1, hint_ms=None, now_ms=1_000)
        (sequence,) = stored.sequences
        assert sequence is not None
        await journal.complete(sequence, 0, drafts=[draft("a")], state=None, now_ms=1_000)
        assert await journal.prune(1_000) == 0
        assert await journal.prune(1_001) == 1
        assert (await journal.count()).outgoing == 1
