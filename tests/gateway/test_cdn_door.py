"""The CDN's door piece by piece, as the server below it calls it: what is noted, counted, slowed, cut, and let go."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import pytest
from fault_house import CIPHER, FaultHouse, open_fault_house
from test_must_accept import upload

SIZE = 1600


@pytest.fixture
async def there(tmp_path: Path) -> AsyncIterator[FaultHouse]:
    async with open_fault_house(tmp_path, "memory") as there:
        yield there


@dataclass
class Transfer:
    """One request, of which a test gives the pieces and sees those of the answer; at last its caller leaves."""

    house: FaultHouse
    target: str
    pieces: list[bytes] = field(default_factory=list)
    size: int | None = None
    method: str = "POST"
    leaves_early: bool = False
    taken: int = 0
    sent: list[dict[str, Any]] = field(default_factory=list)
    noted: int | None = None
    has_left: asyncio.Event = field(default_factory=asyncio.Event)
    resets: int = 0

    async def reset(self) -> None:
        self.resets += 1

    async def receive(self) -> dict[str, Any]:
        if self.taken < len(self.pieces):
            self.taken += 1
            more = self.taken < len(self.pieces) or self.leaves_early
            return {"type": "http.request", "body": self.pieces[self.taken - 1], "more_body": more}
        if not self.leaves_early:
            await self.has_left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: dict[str, Any]) -> None:
        self.sent.append(message)
        if message["type"] == "http.response.body" and not message.get("more_body"):
            self.noted = len(self.house.house.gateway.wire_log())

    async def run(self) -> Any:
        """Make the request, and return what the wire log says of it."""
        path, _, query = self.target.partition("?")
        length = [] if self.size is None else [(b"content-length", str(self.size).encode())]
        scope = {"type": "http", "method": self.method, "path": path, "query_string": query.encode(), "headers": length}
        await self.house.house.caller.app({**scope, "ilink.connection": self}, self.receive, self.send)  # type: ignore[arg-type]
        return self.house.house.gateway.wire_log()[-1]

    @property
    def bodies(self) -> list[bytes]:
        return [one["body"] for one in self.sent if one.get("body")]

    @property
    def headers(self) -> dict[bytes, bytes]:
        return dict(self.sent[0]["headers"])


async def uploading(there: FaultHouse, pieces: list[bytes], **options: Any) -> Transfer:
    size = sum(map(len, pieces))
    announced = upload(there.alice, rawsize=size - 1, filesize=size, filekey="ab" * 16)
    param = (await there.bot.call("getuploadurl", announced))["upload_param"]
    target = f"/c2c/upload?encrypted_query_param={quote(param, safe='')}&filekey={'ab' * 16}"
    return Transfer(there, target, pieces, **{"size": size, **options})


async def downloading(there: FaultHouse, data: bytes = CIPHER) -> Transfer:
    """Return a download of what was uploaded before any fault was there."""
    done = await uploading(there, [data])
    await done.run()
    reference = done.headers[b"x-encrypted-param"].decode()
    return Transfer(there, f"/c2c/download?encrypted_query_param={quote(reference, safe='')}", method="GET")


def read(view: bytes | object) -> object:
    return json.loads(view) if isinstance(view, bytes | str) else view


async def waits(there: FaultHouse) -> None:
    await there.house.until(lambda: len(there.house.gateway.state.waiting) == 1)


async def test_a_slash_at_the_end_is_the_same_endpoint(there: FaultHouse) -> None:
    transfer = await uploading(there, [CIPHER])
    transfer.target = transfer.target.replace("/upload?", "/upload/?")
    entry = await transfer.run()
    assert (entry.endpoint, entry.status) == ("cdn_upload", 200)


async def test_what_goes_up_and_what_goes_down_are_noted_and_counted_apart(there: FaultHouse) -> None:
    tallies = there.house.gateway.tallies
    transfer = await downloading(there)
    sent_up = there.house.gateway.wire_log()[-1]
    assert (read(sent_up.request), read(sent_up.response)) == ({"bytes": 16}, None)
    before = tallies.media_bytes.copy()
    transfer.pieces = [b"not asked for"]
    entry = await transfer.run()
    assert ("bytes" in str(entry.request), read(entry.response)) == (False, {"bytes": 16})
    assert tallies.media_bytes - before == {("down",): 16}
    refused = await uploading(there, [CIPHER[:-1]], size=15)
    refused.target += "0"
    assert (await refused.run()).status == 400
    nowhere = Transfer(there, "/c2c/nowhere", [b"x"], 1)
    assert (await nowhere.run()).status == 404
    assert nowhere.bodies
    assert tallies.media_bytes - before == {("down",): 16, ("up",): 15}


async def test_an_exchange_is_noted_before_its_answer_ends(there: FaultHouse) -> None:
    transfer = await uploading(there, [CIPHER])
    await transfer.run()
    assert transfer.noted == len(there.house.gateway.wire_log())


async def test_how_long_it_took_is_noted(there: FaultHouse) -> None:
    transfer = await downloading(there)
    there.fault(endpoint="cdn_download", delay_ms=60)
    assert (await transfer.run()).held_ms >= 50


@pytest.mark.parametrize("spelling", ["encoded", "raw", "decoded too early"])
async def test_whose_a_reference_is_is_known_in_every_spelling(there: FaultHouse, spelling: str) -> None:
    there.fault(endpoint="cdn_download", bot_id=there.bot.bot_id, http_status=418)
    for n in range(4):  # so that one of them has a plus in it
        transfer = await downloading(there, bytes([n]) * 16)
        if spelling != "encoded":
            transfer.target = unquote(transfer.target)
        if spelling == "decoded too early":
            transfer.target = transfer.target.replace("+", "%20")
        entry = await transfer.run()
        assert (entry.status, entry.bot_id) == (418, there.bot.bot_id)


async def test_an_upload_is_about_the_person_it_is_for(there: FaultHouse) -> None:
    bob = await there.house.person("bob")
    await there.says("hi", bob)
    there.fault(endpoint="cdn_upload", user_id=bob, http_status=418)
    assert (await (await uploading(there, [CIPHER])).run()).status == 200
    announced = upload(bob, filekey="cd" * 16)
    param = (await there.bot.call("getuploadurl", announced))["upload_param"]
    query = f"encrypted_query_param={quote(param, safe='')}&filekey={'cd' * 16}"
    assert (await Transfer(there, f"/c2c/upload?{query}", [CIPHER], 16).run()).status == 418


async def test_a_download_of_what_a_person_sent_is_about_the_owner_of_its_bot(there: FaultHouse) -> None:
    await there.house.gateway.post_media(there.alice, there.bot.bot_id, "file", words(), name="a.txt")
    (message,) = (await there.bot.poll())["msgs"]
    param = message["item_list"][0]["file_item"]["media"]["encrypt_query_param"]
    target = f"/c2c/download?encrypted_query_param={quote(param, safe='')}"
    there.fault(endpoint="cdn_download", user_id=await there.house.person("bob"), http_status=500)
    assert (await Transfer(there, target, method="GET").run()).status == 200
    there.fault(endpoint="cdn_download", user_id=there.alice, http_status=418)
    assert (await Transfer(there, target, method="GET").run()).status == 418


async def words() -> AsyncIterator[bytes]:
    yield b"some words"


@pytest.mark.parametrize("rates", [(1, 1000), (1000, 1)])
async def test_the_slower_of_two_slow_faults_counts(there: FaultHouse, rates: tuple[int, int]) -> None:
    transfer = await uploading(there, [CIPHER])
    for rate in rates:
        there.fault(endpoint="cdn_upload", slow_bytes_per_s=rate)
    await there.house.gateway.freeze_clock(frozen=True)
    running = asyncio.create_task(transfer.run())
    await waits(there)
    await there.house.gateway.advance_clock(15)
    assert len(there.house.gateway.state.waiting) == 1
    await there.house.gateway.advance_clock(1)
    assert (await running).status == 200


async def test_a_slow_download_comes_ten_times_a_second_and_leaves_nobody_listening(there: FaultHouse) -> None:
    transfer = await downloading(there, bytes(SIZE))
    there.fault(endpoint="cdn_download", slow_bytes_per_s=8000)
    before = asyncio.all_tasks()
    await transfer.run()
    assert transfer.bodies == [bytes(800), bytes(800)]
    await asyncio.sleep(0)
    assert asyncio.all_tasks() <= before


async def test_a_download_of_a_few_bytes_a_second_comes_byte_by_byte(there: FaultHouse) -> None:
    transfer = await downloading(there)
    there.fault(endpoint="cdn_download", slow_bytes_per_s=8)
    await there.house.gateway.freeze_clock(frozen=True)
    running = asyncio.create_task(transfer.run())
    for n in range(len(CIPHER)):
        await there.house.until(lambda n=n: len(transfer.bodies) == n and len(there.house.gateway.state.waiting) == 1)
        await there.house.gateway.advance_clock(0.125)
    await running
    assert transfer.bodies == [CIPHER[n : n + 1] for n in range(16)]


async def test_a_slow_download_sends_its_rest_at_once_when_the_gateway_stops(there: FaultHouse) -> None:
    transfer = await downloading(there, bytes(SIZE))
    there.fault(endpoint="cdn_download", slow_bytes_per_s=1)
    running = asyncio.create_task(transfer.run())
    await waits(there)
    there.house.gateway.stop_waiting()
    await running
    assert transfer.bodies == [bytes(1), bytes(SIZE - 1)]


async def test_a_slow_download_sends_no_more_to_who_left(there: FaultHouse) -> None:
    transfer = await downloading(there, bytes(SIZE))
    there.fault(endpoint="cdn_download", slow_bytes_per_s=1)
    running = asyncio.create_task(transfer.run())
    await waits(there)
    transfer.has_left.set()
    await running
    assert transfer.bodies == []


async def test_an_upload_that_hangs_ends_quietly_when_its_caller_leaves(there: FaultHouse) -> None:
    transfer = await uploading(there, [CIPHER[:8], CIPHER[8:]])
    there.fault(endpoint="cdn_upload", hang=True)
    running = asyncio.create_task(transfer.run())
    await there.house.until(lambda: transfer.taken == 2)
    assert not running.done()
    transfer.has_left.set()
    entry = await running
    assert (transfer.sent, transfer.resets, entry.status) == ([], 0, 0)


async def test_what_comes_with_a_download_is_not_counted_as_an_upload(there: FaultHouse) -> None:
    transfer = await downloading(there)
    transfer.pieces = [b"not asked for"]
    before = there.house.gateway.tallies.media_bytes.copy()
    there.fault(endpoint="cdn_download", hang=True)
    running = asyncio.create_task(transfer.run())
    await there.house.until(lambda: transfer.taken == 1)
    transfer.has_left.set()
    await running
    assert there.house.gateway.tallies.media_bytes == before


async def test_a_dropped_upload_whose_caller_leaves_is_answered_by_nothing(there: FaultHouse) -> None:
    transfer = await uploading(there, [CIPHER[:8]], size=16, leaves_early=True)
    there.fault(endpoint="cdn_upload", drop_silently=True)
    entry = await transfer.run()
    assert (transfer.sent, entry.status) == ([], 0)


async def test_an_upload_is_cut_at_its_half_and_not_before(there: FaultHouse) -> None:
    transfer = await uploading(there, [CIPHER[n : n + 4] for n in range(0, 16, 4)])
    there.fault(endpoint="cdn_upload", reset="mid_body")
    entry = await transfer.run()
    assert (transfer.taken, transfer.resets, transfer.sent, entry.status) == (2, 1, [], 0)


async def test_an_upload_of_nothing_that_is_cut_stores_nothing(there: FaultHouse) -> None:
    transfer = await uploading(there, [CIPHER])
    transfer.pieces, transfer.size = [b""], 0
    there.fault(endpoint="cdn_upload", reset="mid_body")
    entry = await transfer.run()
    assert (transfer.sent, transfer.resets, entry.status) == ([], 1, 0)


async def test_a_download_is_cut_in_its_answer_and_not_in_what_comes_with_it(there: FaultHouse) -> None:
    transfer = Transfer(there, "/c2c/download?encrypted_query_param=unknown", [b"not asked for"], 13, "GET")
    there.fault(endpoint="cdn_download", reset="mid_body")
    assert (await transfer.run()).status == 400
    assert (len(transfer.bodies), transfer.resets) == (1, 1)


async def test_the_first_of_two_resets_of_a_blob_says_where_it_ends(there: FaultHouse) -> None:
    transfer = await downloading(there)
    there.fault(endpoint="cdn_download", reset="after_headers")
    there.fault(endpoint="cdn_download", reset="after_effect")
    await transfer.run()
    assert [one["type"] for one in transfer.sent] == ["http.response.start"]
    assert transfer.headers[b"content-length"] == b"16"
    assert transfer.resets == 1


async def test_every_header_that_a_fault_names_is_omitted(there: FaultHouse) -> None:
    transfer = await downloading(there)
    there.fault(endpoint="cdn_download", omit=["Content-Type"])
    there.fault(endpoint="cdn_download", omit=["accept-ranges"])
    await transfer.run()
    assert set(transfer.headers) == {b"content-length"}


async def test_half_of_an_answer_without_a_length_is_nothing(there: FaultHouse) -> None:
    transfer = await downloading(there)
    there.fault(endpoint="cdn_download", omit=["content-length"])
    there.fault(endpoint="cdn_download", reset="mid_body")
    await transfer.run()
    assert (transfer.bodies, transfer.resets) == ([], 1)


async def test_an_upload_by_put_is_only_that(there: FaultHouse) -> None:
    transfer = await uploading(there, [CIPHER], method="PUT")
    transfer.pieces, transfer.size = [b"of another size"], 15
    assert (await transfer.run()).findings == ["upload_by_put"]


async def test_an_upload_without_a_length_is_measured_by_what_came(there: FaultHouse) -> None:
    whole = await uploading(there, [CIPHER], size=None)
    assert "upload_size_mismatch" not in (await whole.run()).findings
    other = await uploading(there, [CIPHER], size=None)
    other.pieces = [CIPHER, b"more"]
    assert (await other.run()).findings == ["upload_size_mismatch"]


async def test_what_is_wrong_with_an_upload_is_found_once(there: FaultHouse) -> None:
    transfer = await uploading(there, [bytes(16)])
    assert (await transfer.run()).findings == ["upload_undecryptable"]
    transfer.taken = 0
    again = await transfer.run()
    assert (again.status, again.findings) == (400, [])


async def test_an_upload_that_is_refused_unread_is_measured_by_what_it_says(there: FaultHouse) -> None:
    size = 17 << 20
    announced = upload(there.alice, rawsize=size - 1, filesize=size)
    param = (await there.bot.call("getuploadurl", announced))["upload_param"]
    target = f"/c2c/upload?encrypted_query_param={quote(param, safe='')}&filekey={'ff' * 16}"
    transfer = Transfer(there, target, [b"a little"], size)
    entry = await transfer.run()
    assert (entry.status, entry.findings, transfer.taken) == (400, [], 0)
