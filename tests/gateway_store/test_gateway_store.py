"""The gateway's store keeps its promises, whichever database is behind it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from ilink.errors import StoreError
from ilink.storage.gateway import (
    BotRecord,
    ChatFacts,
    ChatRecord,
    CodeRecord,
    EntryRecord,
    GatewayStore,
    Judgement,
    MailDraft,
    MailOutline,
    PersonRecord,
    Progress,
    SavedState,
    SendDraft,
    TicketRecord,
    UploadTicketRecord,
)
from ilink.storage.gateway_stores import GatewayStores, open_gateway_stores
from ilink.storage.media import MediaFacts, MediaRecord


@asynccontextmanager
async def opened(kind, request) -> AsyncIterator[GatewayStores]:
    url = request.getfixturevalue("postgres_url") if kind == "postgres" else None
    folder = request.getfixturevalue("tmp_path")
    async with open_gateway_stores(folder, database_url=url, synchronous="OFF") as stores:
        yield stores


@pytest.fixture(params=["sqlite", "postgres"])
async def stores(request) -> AsyncIterator[GatewayStores]:
    async with opened(request.param, request) as stores:
        yield stores


@pytest.fixture
def store(stores: GatewayStores) -> GatewayStore:
    return stores.gateway


def person(name: str = "alice") -> PersonRecord:
    return PersonRecord(user_id=f"{name}@im.wechat", name=name, created_ms=5)


def code(qrcode: str = "q1", **fields) -> CodeRecord:
    values = {
        "qrcode": qrcode,
        "url": f"https://example/{qrcode}",
        "secret": b"\x00secret",
        "status": "wait",
        "created_ms": 10,
        "expires_ms": 100,
        "known_bots": ("a@im.bot", "b@im.bot"),
    }
    return CodeRecord(**values | fields)


def bot(bot_id: str = "b1@im.bot", **fields) -> BotRecord:
    values = {
        "number": 0,
        "bot_id": bot_id,
        "owner_user_id": "alice@im.wechat",
        "state": "live",
        "generation": 1,
        "created_ms": 20,
        "token_hash": b"\xff\x00hash",
        "revoke_ms": None,
        "head_seq": 0,
        "handed_seq": 0,
        "acked_seq": 0,
        "last_poll_ms": None,
        "is_notified": False,
    }
    return BotRecord(**values | fields)


def mail(number: int, text: str = "hi", *, user_id="alice@im.wechat", at_ms=1000, token="t1") -> MailDraft:
    return MailDraft(
        bot=number,
        user_id=user_id,
        client_id=f"c-{text}",
        at_ms=at_ms,
        context_token=token,
        outline=MailOutline(head=b"", after_seq=b"/", after_id=f"/{text}".encode(), first_id=0),
    )


def draft(number: int, client_id: str = "s1", **fields) -> SendDraft:
    values = {
        "bot": number,
        "user_id": "alice@im.wechat",
        "client_id": client_id,
        "context_token": "t1",
        "at_ms": 2000,
        "wire": b"\x00sent",
        "is_idempotent": True,
    }
    return SendDraft(**values | fields)


async def bound(store: GatewayStore, bot_id: str = "b1@im.bot", qrcode: str = "q1", revoke=None) -> int:
    if await store.person("alice@im.wechat") is None:
        await store.add_person(person())
    found = await store.bind(bot(bot_id), code(qrcode, bot_id=bot_id, status="confirmed"), revoke_others_ms=revoke)
    assert found is not None
    return found.number


def shown(_facts: ChatFacts) -> Judgement:
    return Judgement(state="shown")


class Judge:
    """Shows everything, and remembers what it was asked on."""

    def __init__(self, judgement: Judgement | None = None) -> None:
        self.facts: list[ChatFacts] = []
        self.judgement = judgement or Judgement(state="shown")

    def __call__(self, facts: ChatFacts) -> Judgement:
        self.facts.append(facts)
        return self.judgement


async def test_meta_values_are_set_claimed_once_and_counted(store):
    await store.put_meta({"a": "1", "b": "2"})
    await store.put_meta({"a": "3"})

    assert await store.claim_meta({"a": "4", "c": "5"}) == {"a": "3", "b": "2", "c": "5"}
    assert [await store.count_up("n") for _ in range(3)] == [0, 1, 2]
    assert sorted(await asyncio.gather(*(store.count_up("n") for _ in range(5)))) == [3, 4, 5, 6, 7]


async def test_people_are_kept_in_order_and_their_ids_are_case_sensitive(store):
    for name in ("zoe", "alice", "Alice"):
        await store.add_person(person(name))

    assert [one.name for one in await store.people()] == ["zoe", "alice", "Alice"]
    assert await store.person("Alice@im.wechat") == person("Alice")
    assert await store.person("ALICE@im.wechat") is None
    with pytest.raises(StoreError):
        await store.add_person(person("alice"))


async def test_a_binding_stores_bot_and_code_and_replaces_the_owners_others(store):
    first = await bound(store)
    found = await store.bind(bot("b2@im.bot"), code("q2", bot_id="b2@im.bot", status="confirmed"), revoke_others_ms=777)

    assert found is not None
    assert found.number != first
    assert found.replaced == ("b1@im.bot",)
    assert await store.bot("b1@im.bot") == bot("b1@im.bot", number=first, state="replaced", revoke_ms=777)
    assert [one.bot_id for one in await store.live_bots("alice@im.wechat")] == ["b2@im.bot"]
    assert [one.bot_id for one in await store.bots()] == ["b1@im.bot", "b2@im.bot"]
    assert {one.bot_id for one in await store.bots_numbered([first, found.number, 9999])} == {"b1@im.bot", "b2@im.bot"}
    stored = await store.code("q2")
    assert stored is not None
    assert (stored.bot_id, stored.secret, stored.known_bots) == ("b2@im.bot", b"\x00secret", ("a@im.bot", "b@im.bot"))


async def test_a_code_makes_one_bot_only(store):
    await bound(store)

    again = await store.bind(bot("b2@im.bot"), code(bot_id="b2@im.bot", status="confirmed"), revoke_others_ms=1)

    assert again is None
    assert [(one.bot_id, one.state) for one in await store.bots()] == [("b1@im.bot", "live")]


async def test_two_bindings_of_one_owner_at_once_leave_one_live_bot(store):
    await store.add_person(person())
    await asyncio.gather(
        *(store.bind(bot(f"b{n}@im.bot"), code(f"q{n}", bot_id=f"b{n}@im.bot"), revoke_others_ms=5) for n in range(4))
    )

    assert len(await store.live_bots("alice@im.wechat")) == 1


async def test_a_code_is_changed_only_from_what_it_is(store):
    await store.put_code(code())
    scanned = code(status="scaned", user_id="alice@im.wechat")

    assert await store.change_code(code(), scanned)
    assert not await store.change_code(code(), code(status="expired"))
    assert await store.code("q1") == scanned
    assert await store.code("q9") is None


async def test_codes_come_newest_first_and_old_ones_are_dropped(store):
    await store.put_code(code("old", created_ms=1, expires_ms=50))
    await store.put_code(code("new", created_ms=2, expires_ms=60))

    assert [one.qrcode for one in await store.codes()] == ["new", "old"]
    await store.drop_codes(expired_before_ms=60)
    assert [one.qrcode for one in await store.codes()] == ["new"]


async def test_what_is_known_of_a_bot_changes(store):
    number = await bound(store)

    await store.set_notified(number, is_notified=True)
    assert await store.start_generation("b1@im.bot") == 2
    await store.replace_bot("b1@im.bot", revoke_ms=5)
    await store.expire_bot("b1@im.bot")

    assert await store.bot("b1@im.bot") == bot(
        number=number, state="expired", generation=2, revoke_ms=5, is_notified=True
    )


async def test_mail_is_numbered_in_order_and_read_in_portions(store):
    number = await bound(store)
    stored = [await store.append(mail(number, str(n), at_ms=1000 + n)) for n in range(5)]

    assert [one.seq for one in stored] == [1, 2, 3, 4, 5]
    assert [one.wire for one in stored] == [f"{one.n}/{one.seq}/{one.seq - 1}".encode() for one in stored]
    everything = {"after_seq": 0, "not_before_ms": 0, "most": 100, "most_bytes": 10_000}
    assert [one.seq for one in await store.read_mail(number, **everything)] == [1, 2, 3, 4, 5]
    assert [one.seq for one in await store.read_mail(number, **everything | {"after_seq": 3})] == [4, 5]
    assert [one.seq for one in await store.read_mail(number, **everything | {"most": 2})] == [1, 2]
    assert [one.seq for one in await store.read_mail(number, **everything | {"not_before_ms": 1003})] == [4, 5]
    assert [one.seq for one in await store.read_mail(number, **everything | {"most_bytes": 1})] == [1]
    room = len(stored[0].wire) + len(stored[1].wire)
    assert [one.seq for one in await store.read_mail(number, **everything | {"most_bytes": room})] == [1, 2]


async def test_messages_appended_at_once_have_no_gaps_and_ascending_numbers(store):
    number = await bound(store)

    stored = await asyncio.gather(*(store.append(mail(number, str(n))) for n in range(20)))

    in_order = sorted(stored, key=lambda one: one.seq)
    assert [one.seq for one in in_order] == list(range(1, 21))
    assert [one.n for one in in_order] == sorted(one.n for one in in_order)
    assert all(one.wire.startswith(f"{one.seq}/{one.n}/".encode()) for one in in_order)
    read = await store.read_mail(number, after_seq=0, not_before_ms=0, most=100, most_bytes=10_000)
    assert [one.wire for one in read] == [one.wire for one in in_order]


async def test_a_reader_who_asks_for_what_comes_after_misses_nothing_that_is_committed_late(store):
    number = await bound(store)
    await store.append(mail(number, "first"))
    writing = asyncio.gather(
        *(store.append(mail(number, str(n))) for n in range(40)),
        *(store.send(draft(number, f"x{n}"), shown) for n in range(40)),
    )

    seen: list[int] = []
    while len(seen) < 81:
        is_last = writing.done()
        found = await store.entries(number, user_id=None, after=seen[-1] if seen else 0, limit=1000)
        seen += [entry.n for entry in found]
        if is_last and not found:
            break

    await writing
    assert len(seen) == 81


async def test_progress_never_goes_back(store):
    number = await bound(store)
    await store.append(mail(number))

    await store.advance(Progress(bot=number, handed_seq=5, acked_seq=4, last_poll_ms=100))
    await store.advance(Progress(bot=number, handed_seq=3, acked_seq=2, last_poll_ms=None))

    found = await store.bot("b1@im.bot")
    assert found is not None
    assert (found.handed_seq, found.acked_seq, found.last_poll_ms, found.head_seq) == (5, 4, 100, 1)


async def test_a_send_is_judged_on_what_is_stored(store):
    number = await bound(store)
    stranger, silent, known = Judge(Judgement(state="refused", is_stored=False)), Judge(), Judge()

    outcome = await store.send(draft(number, user_id="nobody@im.wechat"), stranger)
    assert outcome.n is None
    await store.send(draft(number), silent)
    await store.append(mail(number, token="t1"))
    for n in range(3):
        await store.send(draft(number, f"x{n}"), known)

    assert stranger.facts[-1] == ChatFacts(is_person=False, last_inbound_ms=None, sends=0, token=None, recent=())
    assert silent.facts[-1].is_person
    assert silent.facts[-1].last_inbound_ms is None
    assert [facts.sends for facts in known.facts] == [0, 1, 2]
    assert known.facts[-1].last_inbound_ms == 1000
    token = known.facts[-1].token
    assert token is not None
    assert (token.issued_ms, token.is_used, token.is_latest) == (1000, False, True)


async def test_a_newer_message_shows_in_the_next_judgement(store):
    number = await bound(store)
    await store.append(mail(number, token="t1"))
    judge = Judge()
    await store.send(draft(number, "x1"), judge)
    await store.append(mail(number, "again", at_ms=1500, token="t2"))
    await store.send(draft(number, "x2"), judge)

    facts = judge.facts[-1]
    assert (facts.last_inbound_ms, facts.sends) == (1500, 0)
    assert facts.token is not None
    assert not facts.token.is_latest


async def test_a_used_token_is_known_as_used_and_an_uncounted_send_does_not_count(store):
    number = await bound(store)
    await store.append(mail(number, token="t1"))
    await store.send(draft(number, "x1"), Judge(Judgement(state="shown", uses_token=True, counts=False)))
    judge = Judge()
    await store.send(draft(number, "x2"), judge)

    assert judge.facts[-1].sends == 0
    assert judge.facts[-1].token is not None
    assert judge.facts[-1].token.is_used
    assert [one.is_used for one in await store.context_tokens(number, limit=5)] == [True]


async def test_a_repeated_client_id_is_answered_by_the_first_send(store):
    number = await bound(store)
    await store.append(mail(number))
    first = await store.send(draft(number, "same"), shown)
    again = await store.send(draft(number, "same"), shown)
    other = await store.send(draft(number, "same", is_idempotent=False), shown)

    assert (again.n, again.is_repeat) == (first.n, True)
    assert not other.is_repeat
    assert other.n != first.n


async def test_a_refused_send_does_not_answer_for_a_repeated_one(store):
    number = await bound(store)
    await store.append(mail(number))
    await store.send(draft(number, "same"), lambda _: Judgement(state="refused", why="no", counts=False))

    outcome = await store.send(draft(number, "same"), shown)

    assert not outcome.is_repeat


async def test_sends_at_once_are_judged_one_after_the_other(store):
    number = await bound(store)
    await store.append(mail(number))

    def at_most_three(facts: ChatFacts) -> Judgement:
        return Judgement(state="shown" if facts.sends < 3 else "refused", counts=facts.sends < 3)

    outcomes = await asyncio.gather(*(store.send(draft(number, f"x{n}"), at_most_three) for n in range(12)))

    assert sorted(outcome.judgement.state for outcome in outcomes) == ["refused"] * 9 + ["shown"] * 3


async def test_the_times_of_recent_sends_are_told_newest_first(store):
    number = await bound(store)
    await store.append(mail(number))
    await store.send(draft(number, "a", at_ms=2001), shown)
    await store.send(draft(number, "b", at_ms=2002), lambda _: Judgement(state="refused", counts=False))
    await store.send(draft(number, "c", at_ms=2003), shown)
    accepted, every = Judge(), Judge()
    await store.send(draft(number, "d", recent=2), accepted)
    await store.send(draft(number, "e", recent=9, recent_refused=True), every)

    assert accepted.facts[0].recent == (2003, 2001)
    assert every.facts[0].recent == (2000, 2003, 2002, 2001)


async def test_entries_are_found_by_chat_direction_and_number(store):
    number = await bound(store)
    await store.append(mail(number, "1"))
    await store.append(mail(number, "2", user_id="bob@im.wechat", token="t2"))
    await store.send(draft(number, "s"), lambda _: Judgement(state="not_shown", why="because", shown_ms=9, cut=3))
    everything = await store.entries(number, user_id=None, after=0, limit=10)

    assert [one.is_outgoing for one in everything] == [False, False, True]
    sent = everything[2]
    assert (sent.state, sent.why, sent.shown_ms, sent.cut, sent.wire) == ("not_shown", "because", 9, 3, b"\x00sent")
    mine = await store.entries(number, user_id="alice@im.wechat", after=0, limit=10)
    assert [one.n for one in mine] == [everything[0].n, sent.n]
    outgoing = await store.entries(number, user_id=None, after=0, limit=10, is_outgoing=True)
    assert outgoing == [sent]
    assert await store.entries(number, user_id=None, after=everything[0].n, limit=1) == [everything[1]]
    assert await store.count_entries(number, user_id=None, after=0) == (3, sent.n)
    assert await store.count_entries(number, user_id=None, after=sent.n) == (0, sent.n)
    assert await store.newest_entries(number, "alice@im.wechat", before=sent.n, limit=5) == [everything[0]]
    assert await store.entry(sent.n) == sent
    assert await store.entry(10**9) is None
    depth, pending = await store.pending(number, after_seq=0, limit=1)
    assert (depth, [one.seq for one in pending]) == (2, [1])


async def test_chats_and_what_is_unread_in_them(store):
    number = await bound(store)
    await store.append(mail(number, "1"))
    await store.append(mail(number, "2", user_id="bob@im.wechat", token="t2"))
    first = await store.send(draft(number, "a"), shown)
    await store.send(draft(number, "b"), lambda _: Judgement(state="not_shown"))
    second = await store.send(draft(number, "c"), shown)
    assert first.n is not None
    assert second.n is not None

    lines = await store.chat_lines(user_id=None, limit=10)
    assert [(line.user_id, line.unread) for line in lines] == [("alice@im.wechat", 2), ("bob@im.wechat", 0)]
    assert lines[0].last is not None
    assert lines[0].last.n == lines[0].newest == second.n
    assert await store.mark_read(number, "alice@im.wechat", first.n)
    assert not await store.mark_read(number, "alice@im.wechat", first.n - 1)
    (line,) = await store.chat_lines(user_id="alice@im.wechat", limit=10)
    assert (line.read_to, line.unread) == (first.n, 1)
    assert [one.user_id for one in await store.chats(number)] == ["alice@im.wechat", "bob@im.wechat"]
    assert await store.chat(number, "alice@im.wechat") == ChatRecord(
        user_id="alice@im.wechat", last_inbound_ms=1000, sends=3, context_token="t1"
    )
    assert await store.chat(number, "nobody") is None


async def test_a_chat_gets_a_newer_context_token(store):
    number = await bound(store)
    await store.append(mail(number))

    await store.add_context_token(number, "alice@im.wechat", "newer", at_ms=1800)

    chat = await store.chat(number, "alice@im.wechat")
    assert chat is not None
    assert chat.context_token == "newer"
    assert [one.token for one in await store.context_tokens(number, limit=9)] == ["newer", "t1"]


async def test_typing_tickets_are_found_by_themselves_and_by_chat(store):
    tickets = [TicketRecord(ticket=f"k{n}", bot=1, user_id="alice", issued_ms=n) for n in range(3)]
    for ticket in tickets:
        await store.add_ticket(ticket)

    assert await store.ticket("k1") == tickets[1]
    assert await store.ticket("none") is None
    assert await store.chat_ticket(1, "alice") == tickets[2]
    assert await store.tickets(1, limit=2) == [tickets[2], tickets[1]]


async def test_permissions_to_upload_are_used_once(store):
    ticket = UploadTicketRecord(
        param="p",
        bot=1,
        user_id="alice",
        filekey="f",
        media_type=1,
        plain_bytes=2**62,
        plain_md5="m",
        cipher_bytes=2**62 + 16,
        aes_key="k",
        is_thumbnail=True,
        issued_ms=5,
    )
    await store.add_upload_tickets([ticket, replace(ticket, param="q", is_thumbnail=False)])

    assert await store.upload_ticket("p") == ticket
    await store.use_upload_ticket("p", at_ms=7)
    await store.use_upload_ticket("p", at_ms=9)
    assert await store.upload_ticket("p") == replace(ticket, used_ms=7)
    assert await store.upload_ticket("none") is None


async def test_clearing_forgets_everything_but_meta_and_counts_anew(store):
    number = await bound(store)
    await store.append(mail(number))
    await store.put_meta({"kept": "yes"})

    await store.clear()

    assert await store.people() == []
    assert await store.bots() == []
    assert (await store.meta())["kept"] == "yes"
    number = await bound(store)
    assert number == 1
    assert (await store.append(mail(number))).n == 1


async def test_a_state_is_restored_and_numbers_go_on_after_it(store):
    await bound(store, "gone@im.bot", "q0")
    entry = EntryRecord(
        n=41,
        bot=7,
        user_id="alice@im.wechat",
        is_outgoing=False,
        seq=3,
        client_id="c",
        at_ms=9,
        state="stored",
        shown_ms=None,
        why=None,
        cut=None,
        wire=b"w",
    )
    window = ChatRecord(user_id="alice@im.wechat", last_inbound_ms=9, sends=2, context_token="tok")
    saved = bot("b7@im.bot", number=7, head_seq=3, is_notified=True)
    state = SavedState(
        people=[person()],
        bots=[saved],
        entries=[entry],
        chats=[(7, window)],
        read_marks=[(7, "alice@im.wechat", 41)],
    )

    await store.restore(state)

    assert await store.bots() == [saved]
    assert await store.entry(41) == entry
    assert await store.chats(7) == [window]
    assert [one.token for one in await store.context_tokens(7, limit=3)] == ["tok"]
    stored = await store.append(mail(7))
    assert (stored.n, stored.seq) == (42, 4)
    assert await bound(store, "b8@im.bot", "q8") == 8


async def test_texts_of_broken_clients_are_kept_as_far_as_a_database_can(store):
    number = await bound(store)
    await store.append(mail(number))

    outcome = await store.send(draft(number, "nul\0id", context_token="\0"), shown)
    again = await store.send(draft(number, "nul\0id", context_token="\0"), shown)

    assert again.n == outcome.n
    assert again.is_repeat
    assert await store.person("\0") is None


async def test_records_of_files(stores):
    record = MediaRecord(
        media_id="media-1",
        param="p",
        ticket="t",
        bot=1,
        media_type=3,
        aes_key="k",
        cipher_bytes=32,
        name="a.txt",
        created_ms=100,
    )
    facts = MediaFacts(plain_bytes=20, sha256="s", md5="m", mime="text/plain")
    async with stores.media as media:
        await media.add(record)
        await media.add(replace(record, media_id="media-2", param="p2"))
        await media.add(replace(record, media_id="media-3", param="p3", ticket=None))
        await media.set_facts("media-2", facts)

        assert await media.names() == {"media-2", "media-3"}
        assert await media.find("p") is None
        assert await media.find("p2") == await media.find_by_ticket("t") == await media.get("media-2")
        found = await media.get("media-2")
        assert found is not None
        assert found.facts == facts
        assert await media.delete_before(100) == []
        assert sorted(await media.delete_before(101)) == ["media-2", "media-3"]
        await media.add(record)
        await media.delete(["media-1", "none"])
        assert await media.clear() == []


async def test_a_send_for_a_bot_that_is_none_stores_nothing(request, postgres_url, tmp_path):
    async with open_gateway_stores(tmp_path, database_url=postgres_url) as stores:
        with pytest.raises(StoreError, match="no bot"):
            await stores.gateway.append(mail(99))
        with pytest.raises(StoreError, match="no bot"):
            await stores.gateway.send(draft(99), shown)


@pytest.mark.parametrize(
    ("outline", "expected"),
    [
        (MailOutline(head=b"h", after_seq=b"s", after_id=b"i", first_id=100), b"h1s101i"),
        (MailOutline(head=b"h", after_seq=b"s", after_id=None, first_id=100), b"h1s"),
        (MailOutline(head=b"h", after_seq=None, after_id=b"i", first_id=100), b"h101i"),
        (MailOutline(head=b"h", after_seq=None, after_id=None, first_id=100), b"h"),
        (MailOutline(head=b"", after_seq=b"", after_id=b"", first_id=9 * 10**18), b"19000000000000000001"),
    ],
)
async def test_numbers_are_written_into_a_message_where_it_has_places_for_them(store, outline, expected):
    number = await bound(store)

    stored = await store.append(replace(mail(number), outline=outline))

    assert stored.wire == expected
    entry = await store.entry(stored.n)
    assert entry is not None
    assert entry.wire == expected


DAY = 86_400_000


async def days_of_mail(store: GatewayStore, number: int, days: range) -> None:
    """Let a person write, a bot answer and a ticket be given at noon of every day, which is looked after first."""
    for day in days:
        noon = day * DAY + DAY // 2
        await store.forget(now_ms=noon, before_ms=0)
        await store.append(mail(number, f"in {day}", at_ms=noon, token=f"t{day}"))
        await store.send(draft(number, f"out {day}", at_ms=noon, context_token=f"t{day}"), accept)
        await store.add_ticket(TicketRecord(ticket=f"x{day}", bot=number, user_id="alice@im.wechat", issued_ms=noon))
        await store.add_upload_tickets([upload_ticket(f"p{day}", number, noon)])


def accept(_facts: ChatFacts) -> Judgement:
    return Judgement(state="shown")


def upload_ticket(param: str, number: int, at_ms: int) -> UploadTicketRecord:
    return UploadTicketRecord(
        param=param,
        bot=number,
        user_id="alice@im.wechat",
        filekey="f",
        media_type=1,
        plain_bytes=1,
        plain_md5="0" * 32,
        cipher_bytes=16,
        aes_key="k",
        is_thumbnail=False,
        issued_ms=at_ms,
        used_ms=None,
    )


async def names_of(store: GatewayStore, number: int) -> list[str]:
    entries = await store.entries(number, user_id=None, after=0, limit=100)
    return [entry.client_id for entry in entries]


async def test_what_is_older_than_a_moment_is_forgotten_with_its_tokens_and_tickets(store):
    number = await bound(store)
    await days_of_mail(store, number, range(100, 105))

    await store.forget(now_ms=104 * DAY + DAY // 2, before_ms=103 * DAY)

    assert await names_of(store, number) == ["c-in 103", "out 103", "c-in 104", "out 104"]
    tokens = await store.context_tokens(number, limit=100)
    assert [one.token for one in tokens] == ["t104", "t103"]
    assert [one.ticket for one in await store.tickets(number, limit=100)] == ["x104", "x103"]
    assert [await store.upload_ticket(f"p{day}") is None for day in range(100, 105)] == [True, True, True, False, False]


async def test_a_chat_keeps_its_newest_context_token_whatever_its_age(store):
    number = await bound(store)
    await days_of_mail(store, number, range(100, 102))

    await store.forget(now_ms=300 * DAY, before_ms=290 * DAY)

    assert await names_of(store, number) == []
    assert [one.token for one in await store.context_tokens(number, limit=100)] == ["t101"]


async def test_numbers_and_places_go_on_after_all_was_forgotten(store):
    number = await bound(store)
    before = await store.append(mail(number, at_ms=100 * DAY))
    await store.forget(now_ms=300 * DAY, before_ms=290 * DAY)

    after = await store.append(mail(number, "later", at_ms=300 * DAY, token="t2"))

    assert after.n > before.n
    assert after.seq == before.seq + 1
    assert [
        one.client_id for one in await store.newest_entries(number, "alice@im.wechat", before=1 << 60, limit=9)
    ] == ["c-later"]


async def test_more_than_is_deleted_at_once_is_forgotten_all_the_same(store, monkeypatch):
    for module in ("gateway_rows", "gateway_postgres_rows"):
        monkeypatch.setattr(f"ilink.storage.{module}.FORGOTTEN_AT_ONCE", 3)
    number = await bound(store)
    for n in range(10):
        await store.append(mail(number, str(n), at_ms=DAY + n, token=f"t{n}"))
    await store.append(mail(number, "young", at_ms=5 * DAY, token="young"))
    await store.append(mail(number, "odd", at_ms=DAY, token="odd"))

    await store.forget(now_ms=5 * DAY, before_ms=4 * DAY)

    assert await names_of(store, number) == ["c-young", "c-odd"]
    assert len(await store.context_tokens(number, limit=100)) == 1 + 1


async def test_a_store_with_several_days_is_cleared_and_restored_as_ever(store):
    number = await bound(store)
    await days_of_mail(store, number, range(100, 104))
    entries = await store.entries(number, user_id=None, after=0, limit=100)

    await store.clear()
    assert await names_of(store, number) == []
    number = await bound(store)
    assert (await store.append(mail(number, at_ms=104 * DAY))).n == 1
    await store.restore(
        SavedState(
            people=(person(),), bots=(bot(number=1, head_seq=9),), entries=tuple(entries), chats=(), read_marks=()
        )
    )

    assert len(await names_of(store, 1)) == len([one for one in entries if one.bot == 1])
    assert (await store.append(mail(1, "next", at_ms=105 * DAY))).n > entries[-1].n
