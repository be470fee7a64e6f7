"""Server-sent events, read as a browser reads them."""

from __future__ import annotations

import asyncio
import json
import os
from contextlib import asynccontextmanager

import pytest


class Reader:
    """Reads the fields of one stream."""

    def __init__(self, response) -> None:
        self.response = response
        self.retry = ""
        self.last_id = ""

    async def next_event(self) -> tuple[str, str, dict]:
        async with asyncio.timeout(45):
            while True:
                fields = await self._next_block()
                if fields is None:
                    raise EOFError
                self.retry = fields.get("retry", self.retry)
                self.last_id = fields.get("id", self.last_id)
                if "data" in fields:
                    return fields["id"], fields["event"], json.loads(fields["data"])

    async def _next_block(self) -> dict[str, str] | None:
        fields: dict[str, str] = {}
        async for line in self.response.content:
            text = line.decode().rstrip("\n")
            if not text:
                return fields
            name, _, value = text.partition(":")
            fields[name or "comment"] = value.removeprefix(" ")
        return None


@asynccontextmanager
async def following(api, last_id: str | None = None, query: str = ""):
    headers = {} if last_id is None else {"last-event-id": last_id}
    async with api.session.get(f"{api.url}/_sim/events{query}", headers=headers) as response:
        assert response.status == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        assert response.headers["cache-control"] == "no-store"
        yield Reader(response)


async def say(api, friend, user_id: str, text: str) -> None:
    await api.post(f"/_sim/people/{user_id}/messages", {"bot_id": friend.bot_id, "text": text})


async def next_of(reader: Reader, kind: str) -> tuple[str, dict]:
    while True:
        number, event, data = await reader.next_event()
        if event == kind:
            return number, data


async def test_a_message_is_told_as_it_happens(api, friend, alice) -> None:
    async with following(api) as reader:
        await say(api, friend, alice, "secret words")
        _, data = await next_of(reader, "message")
    assert (data["bot_id"], data["user_id"]) == (friend.bot_id, alice)
    assert "secret words" not in json.dumps(data)
    assert data["at"].endswith("Z")


async def test_a_reader_that_comes_back_misses_nothing_and_gets_nothing_twice(api, friend, alice) -> None:
    async with following(api) as reader:
        await say(api, friend, alice, "one")
        first, before = await next_of(reader, "message")
    await say(api, friend, alice, "two")
    await say(api, friend, alice, "three")
    seen = []
    async with following(api, last_id=first) as reader:
        while len([event for _, event, _ in seen if event == "message"]) < 2:
            seen.append(await reader.next_event())
    numbers = [int(first)] + [int(number) for number, _, _ in seen]
    assert numbers == sorted(set(numbers))
    if os.environ.get("ILINK_TEST_STORE") != "postgres":  # there numbers are times, which all processes know
        assert numbers[-1] - numbers[0] == len(seen)
    assert [data["n"] - before["n"] for _, event, data in seen if event == "message"] == [1, 2]


async def test_a_reader_may_name_its_place_in_the_query(api, friend, alice) -> None:
    await say(api, friend, alice, "one")
    async with following(api, query="?last_event_id=0") as reader:
        number, _, _ = await reader.next_event()
        assert int(number) > 0
        assert (await next_of(reader, "message"))[1]["n"] == 1


async def test_a_reader_knows_its_place_before_anything_happens(api, friend, alice, server) -> None:
    async with following(api) as reader:
        await say(api, friend, alice, "x")
        await reader.next_event()
        assert reader.retry
    assert server.gateway.events.newest > 0


async def test_a_place_that_is_no_number_is_refused(api) -> None:
    answer = await api.get("/_sim/events", headers={"last-event-id": "abc"})
    assert answer.status == 422


async def test_a_code_a_bot_typing_and_the_clock_are_told(api, friend, alice) -> None:
    async with following(api, query="?last_event_id=0") as reader:
        await say(api, friend, alice, "hi")
        await friend.type_to(alice)
        await api.post("/_sim/clock", {"advance_s": 1})
        wanted = {"qr", "bot", "message", "typing", "wire", "clock"}
        while wanted:
            _, event, _ = await reader.next_event()
            wanted.discard(event)


async def test_a_change_of_knobs_is_told_with_whose_they_are(api, friend, alice) -> None:
    async with following(api) as reader:
        await api("PUT", "/_sim/config", json={"knobs": {"quota.per_inbound": 3}})
        _, everybodys = await next_of(reader, "config")
        await api("PUT", "/_sim/config", json={"profile": "quota_hard", "bot_id": friend.bot_id})
        _, of_a_bot = await next_of(reader, "config")
        await api("PUT", "/_sim/config", json={"knobs": {"no.such": 1}})  # refused, so nothing changes
        await api("DELETE", f"/_sim/config?user_id={alice}")
        _, of_a_person = await next_of(reader, "config")
    assert (everybodys["bot_id"], everybodys["user_id"]) == (None, None)
    assert (of_a_bot["bot_id"], of_a_bot["user_id"]) == (friend.bot_id, None)
    assert (of_a_person["bot_id"], of_a_person["user_id"]) == (None, alice)


async def test_a_reader_that_leaves_is_forgotten(api, server, friend, alice) -> None:
    tasks = len(asyncio.all_tasks())
    async with following(api) as reader:
        await say(api, friend, alice, "hi")
        await reader.next_event()
    async with asyncio.timeout(45):
        while len(asyncio.all_tasks()) > tasks:  # noqa: ASYNC110  # tasks tell nobody that they ended
            await asyncio.sleep(0.005)


async def test_readers_end_when_the_gateway_stops(session) -> None:
    from ilink.gateway.server import GatewayServer, ServerOptions

    async with GatewayServer(ServerOptions(synchronous="OFF")) as server:
        response = await session.get(f"{server.info.control_url}/_sim/events")
    with pytest.raises(EOFError):
        await Reader(response).next_event()


async def test_head_on_the_stream_answers_without_waiting(api) -> None:
    async with asyncio.timeout(45):
        answer = await api("HEAD", "/_sim/events")
    assert (answer.status, answer.raw) == (200, b"")
