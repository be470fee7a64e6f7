"""Two gateways on one database behave as one, whichever is asked."""

from __future__ import annotations

import asyncio

from processes_house import texts, until, waiting

from ilink.storage.postgres import PostgresDatabase


async def test_a_login_goes_on_at_another_process_than_it_was_begun_at(pair):
    alice = await pair.person()
    qrcode = await pair.ask_code(pair.one)

    assert (await pair.status(pair.other, qrcode))["status"] == "wait"
    await pair.one.gateway.scan(qrcode, alice)
    assert (await pair.status(pair.other, qrcode))["status"] == "scaned"
    await pair.other.gateway.confirm(qrcode)
    answer = await pair.status(pair.one, qrcode)
    assert answer["status"] == "confirmed"
    assert answer["bot_token"]


async def test_a_held_question_for_a_status_hears_of_a_scan_elsewhere(pair):
    alice = await pair.person()
    qrcode = await pair.ask_code(pair.one)
    await pair.status(pair.one, qrcode)
    held = asyncio.create_task(pair.status(pair.one, qrcode))
    await until(lambda: waiting(pair.one.gateway))

    await pair.other.gateway.scan(qrcode, alice)

    assert (await held)["status"] == "scaned"


async def test_a_code_is_confirmed_once_when_two_processes_are_asked_at_the_same_time(pair):
    alice = await pair.person()
    qrcode = await pair.ask_code(pair.one)

    views = await asyncio.gather(
        pair.one.gateway.confirm(qrcode, user_id=alice), pair.other.gateway.confirm(qrcode, user_id=alice)
    )

    assert views[0].bot_id == views[1].bot_id
    assert len(await pair.one.gateway.bots()) == 1


async def test_a_message_posted_at_one_process_answers_a_poll_held_at_another(pair):
    bot = await pair.bot()
    held = await pair.held(bot, pair.other)

    await pair.one.gateway.post_message(bot.user_id, bot.bot_id, text="hello")

    assert texts(await held) == ["hello"]


async def test_a_cursor_counts_at_every_process(pair):
    bot = await pair.bot()
    for n in range(6):
        writer, reader = (pair.one, pair.other) if n % 2 else (pair.other, pair.one)
        await writer.gateway.post_message(bot.user_id, bot.bot_id, text=str(n))
        assert texts(await bot.poll(reader)) == [str(n)]
    held = await pair.held(bot, pair.other)

    view = await pair.one.gateway.bot(bot.bot_id)

    assert (view.head_seq, view.acked_seq) == (6, 6)
    assert not held.done()


async def test_the_newest_poll_wins_across_processes(pair):
    bot = await pair.bot()
    older = await pair.held(bot, pair.one)
    newer = await pair.held(bot, pair.other)

    answer = await older

    assert answer["ret"] == 0
    assert answer["msgs"] == []
    assert not newer.done()
    await pair.one.gateway.post_message(bot.user_id, bot.bot_id, text="for the newer")
    assert texts(await newer) == ["for the newer"]


async def test_the_loser_of_two_polls_is_stale_where_the_knob_says_so(pair):
    bot = await pair.bot()
    await pair.other.gateway.configure(knobs={"poll.conflict": "stale"})
    await pair.one.gateway.catch_up()
    older = await pair.held(bot, pair.one)
    await pair.held(bot, pair.other)

    assert (await older)["errcode"] == -14


async def test_a_bot_that_expires_at_one_process_is_stale_at_the_other_at_once(pair):
    bot = await pair.bot()
    held = await pair.held(bot, pair.other)

    await pair.one.gateway.expire_bot(bot.bot_id)

    assert (await bot.send(pair.other, "too late"))["errcode"] == -14
    assert (await held)["errcode"] == -14


async def test_a_newer_login_at_one_process_ends_the_polls_of_the_older_bot_at_another(pair):
    await pair.one.gateway.configure(knobs={"bind.revoke_delay_s": 0})
    await pair.other.gateway.catch_up()
    alice = await pair.person()
    older = await pair.bot(alice)
    held = await pair.held(older, pair.other)

    await pair.bot(alice)

    assert (await held)["errcode"] == -14


async def test_a_send_at_one_process_is_seen_by_who_waits_at_another(pair):
    bot = await pair.bot()
    await pair.one.gateway.post_message(bot.user_id, bot.bot_id, text="hi")
    waiter = asyncio.create_task(pair.other.gateway.wait_entries(bot.bot_id, bot.user_id, direction="out", timeout=20))
    await until(lambda: waiting(pair.other.gateway))

    await bot.send(pair.one, "answer")

    assert [entry.items[0].text for entry in await waiter] == ["answer"]


async def test_sends_count_toward_one_allowance_at_all_processes(pair):
    bot = await pair.bot()
    await pair.one.gateway.post_message(bot.user_id, bot.bot_id, text="hi")

    answers = [await bot.send((pair.one, pair.other)[n % 2], str(n)) for n in range(11)]

    assert [answer["ret"] for answer in answers] == [0] * 10 + [-2]


async def test_sends_at_the_same_moment_never_exceed_the_allowance(pair):
    bot = await pair.bot()
    await pair.one.gateway.post_message(bot.user_id, bot.bot_id, text="hi")

    answers = await asyncio.gather(*(bot.send((pair.one, pair.other)[n % 2], str(n)) for n in range(20)))

    assert sorted(answer["ret"] for answer in answers) == [-2] * 10 + [0] * 10


async def test_messages_written_at_both_processes_at_once_come_in_one_order_without_gaps(pair):
    bot = await pair.bot()
    posts = [
        (pair.one, pair.other)[n % 2].gateway.post_message(bot.user_id, bot.bot_id, text=str(n)) for n in range(30)
    ]

    posted = await asyncio.gather(*posts)

    assert sorted(post.seq for post in posted) == list(range(1, 31))
    in_order = [str(n) for _, n in sorted((post.seq, n) for n, post in enumerate(posted))]
    numbers = [post.n for post in sorted(posted, key=lambda post: post.seq)]
    assert numbers == sorted(numbers)
    got: list[str] = []
    while len(got) < 30:
        got += texts(await bot.poll(pair.other))
    assert got == in_order


async def test_knobs_set_at_one_process_hold_at_the_other(pair):
    await pair.one.gateway.configure(knobs={"poll.hold_ms": 1234})

    await until(lambda: pair.other.gateway.config().knobs["poll.hold_ms"] == 1234)


async def test_time_moved_and_stopped_at_one_process_moves_and_stops_at_the_other(pair):
    before = pair.other.gateway.now
    await pair.one.gateway.advance_clock(90_000)
    await pair.other.gateway.catch_up()
    moved = pair.other.gateway.now
    await pair.one.gateway.freeze_clock(frozen=True)
    await pair.other.gateway.catch_up()

    assert 90_000 <= (moved - before).total_seconds() < 90_060
    assert pair.other.gateway.clock().frozen
    assert abs(pair.other.gateway.now - pair.one.gateway.now).total_seconds() < 0.001
    await pair.other.gateway.freeze_clock(frozen=False)
    await pair.one.gateway.catch_up()
    assert not pair.one.gateway.clock().frozen


async def test_a_reset_at_one_process_empties_the_other(pair):
    bot = await pair.bot()
    held = await pair.held(bot, pair.other)

    await pair.one.gateway.reset(7)

    await held
    await pair.other.gateway.catch_up()
    assert await pair.other.gateway.bots() == []
    assert (await bot.poll(pair.other))["errcode"] == -14
    people = [await (pair.one, pair.other)[n % 2].gateway.add_person("bob") for n in range(4)]
    assert len({person.user_id for person in people}) == 4


async def test_a_fault_set_at_one_process_strikes_at_the_other(pair):
    bot = await pair.bot()
    url = f"{pair.one.info.control_url}/_sim/faults"
    async with pair.session.post(url, json={"endpoint": "sendmessage", "action": {"ret": -2}}) as response:
        assert response.status == 201
    await pair.other.gateway.catch_up()

    assert (await bot.send(pair.other, "x"))["ret"] == -2

    async with pair.session.delete(f"{pair.other.info.control_url}/_sim/faults") as response:
        assert response.status == 204
    await pair.one.gateway.catch_up()
    assert pair.one.gateway.faults.views() == []


async def test_events_of_one_process_are_followed_at_the_other(pair):
    bot = await pair.bot()
    seen: list[str] = []

    async def follow() -> None:
        async for event in pair.other.gateway.events.follow():
            seen.append(event.kind)  # noqa: PERF401  # as they come

    follower = asyncio.create_task(follow())
    await asyncio.sleep(0)

    await pair.one.gateway.post_message(bot.user_id, bot.bot_id, text="hi")

    await until(lambda: "message" in seen)
    follower.cancel()


async def typing_of(pair, bot):
    """Return what to say to a process so that the bot types, or types no more."""
    await pair.one.gateway.post_message(bot.user_id, bot.bot_id, text="hi")
    ticket = (await bot.call(pair.one, "getconfig", {"ilink_user_id": bot.user_id}))["typing_ticket"]

    async def say(server, status):
        body = {"ilink_user_id": bot.user_id, "typing_ticket": ticket, "status": status}
        assert (await bot.call(server, "sendtyping", body))["ret"] == 0

    return say


async def test_typing_at_one_process_is_seen_at_the_other_until_either_ends_it(pair):
    bot = await pair.bot()
    say = await typing_of(pair, bot)

    await say(pair.other, 1)
    await until(lambda: pair.one.gateway.typing(bot.bot_id, bot.user_id).typing)
    seen = [one.gateway.typing(bot.bot_id, bot.user_id).since for one in (pair.one, pair.other)]
    assert seen[0] == seen[1]

    await say(pair.one, 2)
    assert not pair.one.gateway.typing(bot.bot_id, bot.user_id).typing
    await until(lambda: not pair.other.gateway.typing(bot.bot_id, bot.user_id).typing)


async def test_typing_that_a_process_never_heard_of_is_ended_there(pair):
    bot = await pair.bot()
    say = await typing_of(pair, bot)
    await say(pair.one, 1)
    await until(lambda: pair.other.gateway.typing(bot.bot_id, bot.user_id).typing)
    pair.other.gateway._typing.forget()

    await say(pair.other, 2)

    await until(lambda: not pair.one.gateway.typing(bot.bot_id, bot.user_id).typing)


async def test_typing_lasts_as_long_as_the_bots_own_knob_says_at_every_process_and_is_prolonged_at_any(pair):
    bot = await pair.bot()
    say = await typing_of(pair, bot)
    both = (pair.one.gateway, pair.other.gateway)
    await pair.one.gateway.configure(knobs={"typing.shown_s": 1000}, bot_id=bot.bot_id)
    await pair.one.gateway.freeze_clock(frozen=True)
    await pair.other.gateway.catch_up()

    async def later(seconds):
        await pair.one.gateway.advance_clock(seconds)
        await pair.other.gateway.catch_up()

    def seen():
        return [gateway.typing(bot.bot_id, bot.user_id).typing for gateway in both]

    await say(pair.one, 1)
    await until(lambda: seen() == [True, True])
    await later(900)
    assert seen() == [True, True]

    first = pair.one.gateway._typing._shown[bot.bot_id, bot.user_id]
    await say(pair.other, 1)
    await until(lambda: pair.one.gateway._typing._shown[bot.bot_id, bot.user_id] is not first)
    await later(900)
    assert seen() == [True, True]
    await later(101)
    assert seen() == [False, False]
    events = pair.one.gateway.events
    await until(lambda: [e.data["typing"] for e in events.after(0) if e.kind == "typing"] == [True, False])


async def test_a_reader_of_events_goes_on_at_another_process_without_missing_any(pair):
    bot = await pair.bot()
    await pair.one.gateway.post_message(bot.user_id, bot.bot_id, text="1")
    last = pair.one.gateway.events.newest
    await pair.one.gateway.post_message(bot.user_id, bot.bot_id, text="2")
    found = asyncio.Event()

    async def follow() -> None:
        async for event in pair.other.gateway.events.follow(last):
            if event.kind == "message" and event.data["n"] == 2:
                found.set()

    follower = asyncio.create_task(follow())
    async with asyncio.timeout(45):
        await found.wait()
    follower.cancel()


async def test_a_reader_of_events_may_come_to_a_gateway_where_nothing_has_happened_yet(pair):
    seen: list[str] = []

    async def follow() -> None:
        async for event in pair.other.gateway.events.follow(1):
            seen.append(event.kind)  # noqa: PERF401  # as they come

    follower = asyncio.create_task(follow())
    await asyncio.sleep(0)
    await pair.other.gateway.add_person("alice")
    await until(lambda: "person" in seen)
    follower.cancel()


async def test_what_hints_do_not_tell_is_found_by_looking(quick_pair, monkeypatch):
    pair = quick_pair
    monkeypatch.setattr(PostgresDatabase, "notify", lambda *_: None)
    alice = await pair.person()
    qrcode = await pair.ask_code(pair.one)
    await pair.status(pair.one, qrcode)
    login = asyncio.create_task(pair.status(pair.one, qrcode))
    await until(lambda: waiting(pair.one.gateway))
    await pair.other.gateway.scan(qrcode, alice)
    assert (await login)["status"] == "scaned"

    bot = await pair.bot(alice)
    for n in range(3):
        held = await pair.held(bot, pair.other)
        await pair.one.gateway.post_message(bot.user_id, bot.bot_id, text=str(n))
        assert texts(await held) == [str(n)]
    await pair.one.gateway.configure(knobs={"poll.hold_ms": 4321})
    await until(lambda: pair.other.gateway.config().knobs["poll.hold_ms"] == 4321)
    held = await pair.held(bot, pair.other)
    await pair.one.gateway.expire_bot(bot.bot_id)
    assert (await held)["errcode"] == -14


async def test_a_file_uploaded_at_one_process_is_downloaded_at_the_other(pair):
    bot = await pair.bot()

    async def chunks():
        yield b"the bytes of a file" * 1000

    await pair.one.gateway.post_media(bot.user_id, bot.bot_id, "file", chunks(), name="a.txt")
    message = (await bot.poll(pair.other))["msgs"][0]
    param = message["item_list"][0]["file_item"]["media"]["encrypt_query_param"]
    url = f"{pair.other.info.cdn_url}/download"
    async with pair.session.get(url, params={"encrypted_query_param": param}) as response:
        body = await response.read()

    assert response.status == 200
    assert len(body) == 19_008


async def test_an_idle_poll_writes_nothing_to_the_database(pair, postgres_url):
    await pair.one.gateway.configure(knobs={"poll.hold_ms": 50})
    await pair.other.gateway.catch_up()
    bot = await pair.bot()
    await bot.poll(pair.one)
    newest_write = "SELECT txid_snapshot_xmax(txid_current_snapshot()) AS number"
    async with PostgresDatabase(postgres_url, schema="gateway") as database:
        before = (await database.read(newest_write))[0]["number"]
        for _ in range(10):
            assert (await bot.poll(pair.one))["msgs"] == []
        after = (await database.read(newest_write))[0]["number"]

    # Each transaction that writes takes a number; the server's own upkeep may take one now and then.
    assert after - before < 5
