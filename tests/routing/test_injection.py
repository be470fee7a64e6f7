"""Dependencies: made, shared, closed; and everything that is wrong with them found before a message comes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

import pytest
from routing_house import Ear, dispatch, dispatch_built, message

from ilink import AccountId, Bot, ConfigError, Invocation, Message, Quote, Router, TextMessage, UserId, filters
from ilink.bot.routing.dispatch import Dispatch

if TYPE_CHECKING:
    from decimal import Decimal as Unknown


class Pool:
    def __init__(self) -> None:
        self.opened = 0


class Session:
    def __init__(self, pool: Pool | None = None) -> None:
        self.pool = pool


class Repository:
    def __init__(self, session: Session) -> None:
        self.session = session


async def test_what_a_handler_asks_for_is_made_with_what_that_asks_for() -> None:
    router = Router()
    seen: list[object] = []
    router.provide(Pool, Pool, scope="app")
    router.provide(Repository, Repository)

    @router.provide()
    async def session(pool: Pool, one: Message) -> Session:
        pool.opened += 1
        seen.append(one.text)
        return Session(pool)

    @router.on_text()
    async def handle(message: TextMessage, repository: Repository, session: Session, *, pool: Pool) -> None:
        assert repository.session is session
        assert session.pool is pool
        seen.append(pool.opened)

    built = Dispatch(router.registered)
    async with built.lifespan():
        await dispatch_built(built, "a")
        await dispatch_built(built, "b")
    assert seen == ["a", 1, "b", 2]


@pytest.mark.parametrize("fails", [False, True])
async def test_generators_are_closed_after_the_handler_in_the_opposite_order(fails: bool) -> None:
    router = Router()
    seen: list[str] = []

    @router.provide()
    def pool() -> Iterator[Pool]:
        seen.append("pool")
        try:
            yield Pool()
        except ValueError:
            seen.append("pool saw it")
            raise
        finally:
            seen.append("pool closed")

    @router.provide()
    async def session(pool: Pool) -> AsyncIterator[Session]:
        seen.append("session")
        yield Session(pool)
        seen.append("session closed")

    @router.on_text()
    async def handle(message: TextMessage, session: Session) -> None:
        seen.append("handled")
        if fails:
            raise ValueError

    if fails:
        with pytest.raises(ValueError):  # noqa: PT011
            await dispatch(router, "x")
        assert seen == ["pool", "session", "handled", "pool saw it", "pool closed"]
    else:
        await dispatch(router, "x")
        assert seen == ["pool", "session", "handled", "session closed", "pool closed"]


async def test_a_provider_that_swallows_an_error_makes_no_success_of_it() -> None:
    router = Router()

    @router.provide()
    def session() -> Generator[Session]:
        with suppress(ValueError):
            yield Session()

    @router.on_text()
    async def handle(message: TextMessage, session: Session) -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await dispatch(router, "x")


async def test_what_lives_as_long_as_the_bot_is_made_at_its_start_and_closed_at_its_end() -> None:
    router, inner = Router(), Router()
    seen: list[str] = []

    @router.provide(scope="app")
    async def pool() -> AsyncIterator[Pool]:
        seen.append("open")
        yield Pool()
        seen.append("closed")

    @inner.provide(scope="app")
    def session(pool: Pool) -> Session:
        seen.append("session")
        return Session(pool)

    @inner.on_startup
    async def started(session: Session) -> None:
        seen.append("started")

    @router.on_shutdown
    async def stopped(pool: Pool) -> None:
        seen.append("stopped")

    @router.on_shutdown
    async def stopped_first() -> None:
        seen.append("stopped first")

    @inner.on_text()
    async def handle(message: TextMessage, session: Session) -> None:
        seen.append("handled")

    router.include(inner)
    built = Dispatch(router.registered)
    for _ in range(2):
        async with built.lifespan():
            await dispatch_built(built, "x")
    once = ["open", "session", "started", "handled", "stopped first", "stopped", "closed"]
    assert seen == once * 2


async def test_what_was_opened_is_closed_when_the_start_fails() -> None:
    router = Router()
    seen: list[str] = []

    @router.provide(scope="app")
    def pool() -> Iterator[Pool]:
        yield Pool()
        seen.append("closed")

    @router.on_startup
    async def fail() -> None:
        raise RuntimeError("no network")

    @router.on_shutdown
    async def stopped() -> None:
        seen.append("stopped")

    with pytest.raises(RuntimeError, match="no network"):
        async with Dispatch(router.registered).lifespan():
            pass
    assert seen == ["stopped"]


async def test_inner_routers_replace_what_outer_ones_provide() -> None:
    outer, inner = Router(), Router()
    seen: list[str] = []
    outer.provide(str | None, lambda: "outer")  # type: ignore[arg-type]
    inner.provide(str | None, lambda: "inner")  # type: ignore[arg-type]

    async def handle(message: TextMessage, name: str | None) -> None:
        seen.append(str(name))

    outer.on_text(filters.equals("out"))(handle)
    inner.on_text(filters.equals("in"))(handle)
    outer.include(inner)
    await dispatch(outer, "out")
    await dispatch(outer, "in")
    assert seen == ["outer", "inner"]


async def test_an_error_handler_sees_what_its_own_router_sees() -> None:
    outer, inner = Router(), Router()
    outer.provide(str | None, lambda: "outer")  # type: ignore[arg-type]
    inner.provide(str | None, lambda: "inner")  # type: ignore[arg-type]

    @outer.on_error()
    async def sorry(error: Exception, message: Message, name: str | None) -> None:
        await message.reply(str(name))

    @inner.on_text()
    async def fail(message: TextMessage) -> None:
        raise ValueError

    outer.include(inner)
    assert await dispatch(outer, "x") == ["outer"]


async def test_a_provider_sees_what_stands_around_it_and_not_what_stands_inside() -> None:
    outer, inner = Router(), Router()
    outer.provide(Repository, Repository)
    inner.provide(Session, Session)

    @inner.on_text()
    async def handle(message: TextMessage, repository: Repository) -> None: ...

    outer.include(inner)
    with pytest.raises(ConfigError, match=r"this provider asks for `session: Session`, and nothing makes that"):
        outer.check()


async def test_what_is_always_there_needs_no_provider() -> None:
    router = Router()
    seen: list[object] = []

    @router.on_quote()
    async def handle(
        message: Message, quote: Quote, perhaps: Quote | None, user: UserId, account: AccountId, invocation: Invocation
    ) -> None:
        seen.extend([quote.title, perhaps == quote, user, account, invocation.message is message])
        seen.append(invocation.handler.place.name.rpartition(".")[2])

    await dispatch(router, message("yes", quote="really?"))
    assert seen == ["really?", True, "alice@im.wechat", "bot@im.bot", True, "handle"]


async def test_annotated_types_are_kept_apart() -> None:
    router = Router()
    seen: list[object] = []

    @router.provide()
    def reading() -> Annotated[Session, "read"]:
        return Session()

    @router.provide()
    def writing() -> Annotated[Session, "write"]:
        return Session(Pool())

    @router.on_text()
    async def handle(message: TextMessage, one: Annotated[Session, "read"], two: Annotated[Session, "write"]) -> None:
        seen.extend([one.pool is None, two.pool is None])

    await dispatch(router, "x")
    assert seen == [True, False]


async def test_a_default_is_used_when_nobody_makes_it() -> None:
    router = Router()
    seen: list[object] = []

    @router.on_text()
    async def handle(message: TextMessage, pool: Pool | None = None, limit: int = 3) -> None:
        seen.extend([pool, limit])

    await dispatch(router, "x")
    assert seen == [None, 3]


async def test_annotations_that_only_the_checker_sees_do_not_matter_on_the_message() -> None:
    router = Router()

    @router.on_text()
    async def handle(message: Unknown) -> None:  # type: ignore[arg-type]
        await message.reply("fine")  # type: ignore[attr-defined]

    assert await dispatch(router, "x") == ["fine"]


async def test_a_command_gets_arguments_and_dependencies() -> None:
    router = Router()
    router.provide(Pool, Pool)

    @router.on_command("add")
    async def add(message: TextMessage, pool: Pool, count: int, *words: str) -> None:
        await message.reply(f"{type(pool).__name__} {count} {words}")

    assert await dispatch(router, "/add 2 a b") == ["Pool 2 ('a', 'b')"]


async def test_a_bot_is_found_by_its_type() -> None:
    bot = Bot(environ={})
    seen: list[object] = []

    @bot.on_text()
    async def handle(message: TextMessage, itself: Bot) -> None:
        seen.append(itself)

    await dispatch(bot, "x")
    assert seen == [bot]


async def asks_for_nothing_known(message: TextMessage, pool: Pool) -> None: ...
async def asks_for_what_only_checkers_see(message: TextMessage, money: Unknown) -> None: ...
async def says_not_what(message: TextMessage, thing) -> None: ...  # type: ignore[no-untyped-def]
async def asks_for_an_uncaptured_value(message: TextMessage, count: int) -> None: ...
async def asks_for_a_quote(message: TextMessage, quote: Quote) -> None: ...
async def takes_words(message: TextMessage, *words: str) -> None: ...


@pytest.mark.parametrize(
    ("function", "why"),
    [
        (asks_for_nothing_known, "asks for `pool: Pool`, and nothing makes that"),
        (asks_for_what_only_checkers_see, "not under `if TYPE_CHECKING`"),
        (says_not_what, "does not say what `thing` is"),
        (asks_for_an_uncaptured_value, "asks for `count: int`, and no filter captures `count`"),
        (asks_for_a_quote, "asks for a `Quote`, which not every message has: use on_quote()"),
        (takes_words, r"takes \*words, and nothing fills that"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_is_missing_is_named_with_its_place_when_the_router_is_built(
    function: Callable[..., object], why: str
) -> None:
    router = Router()
    router.on_text()(function)  # type: ignore[arg-type]
    line = function.__code__.co_firstlineno
    with pytest.raises(ConfigError, match=rf"test_injection.py:{line} {function.__name__}: this handler .*{why}"):
        router.check()


def test_a_quote_is_there_only_if_every_way_sees_to_it() -> None:
    one_way, both_ways = Router(), Router()
    one_way.on_text(filters.quoting | filters.contains("x"))(asks_for_a_quote)
    both_ways.on_text((filters.quoting & filters.contains("x")) | (filters.contains("y") & filters.quoting))(
        asks_for_a_quote
    )
    both_ways.check()
    with pytest.raises(ConfigError, match="which not every message has"):
        one_way.check()


def test_circles_are_refused_with_every_place() -> None:
    router = Router()

    @router.provide()
    def pool(session: Session) -> Pool:
        return Pool()

    @router.provide()
    def session(pool: Pool) -> Session:
        return Session(pool)

    places = r"Pool \(.*test_injection.py:\d+ .*pool\) needs Session \(.*session\) needs Pool"
    with pytest.raises(ConfigError, match=f"round in a circle: {places}"):
        router.check()


def test_what_lasts_needs_nothing_that_does_not() -> None:
    router = Router()
    router.provide(Session, Session)

    @router.provide(scope="app")
    def pool(session: Session) -> Pool:
        return Pool()

    with pytest.raises(ConfigError, match=r"pool: this provider lives as long as the bot, and needs `Session`"):
        router.check()


def test_what_lasts_knows_no_message() -> None:
    router = Router()

    @router.provide(scope="app")
    def pool(message: Message) -> Pool:
        return Pool()

    with pytest.raises(ConfigError, match="asks for the message of the moment"):
        router.check()


def test_hooks_know_no_message() -> None:
    router = Router()

    @router.on_startup
    async def go(user: UserId) -> None: ...

    with pytest.raises(ConfigError, match="go: this startup hook runs without a message"):
        router.check()


def test_two_providers_of_one_type_in_one_router_are_refused() -> None:
    router = Router()
    router.provide(Pool, Pool)
    with pytest.raises(ConfigError, match=r"makes `Pool`, as .*Pool does; remove one"):
        router.provide(Pool, Pool)


def test_a_provider_has_to_say_what_it_makes() -> None:
    with pytest.raises(ConfigError, match="does not say what it makes"):

        @Router().provide()
        def thing():  # type: ignore[no-untyped-def]
            return Pool()


@pytest.mark.parametrize("kind", [Message, Invocation])
def test_what_everybody_gets_cannot_be_provided(kind: type) -> None:
    with pytest.raises(ConfigError, match="which every handler gets anyway"):
        Router().provide(kind, Pool)


def test_nobody_knows_what_to_give_to_stars() -> None:
    with pytest.raises(ConfigError, match=r"takes \*\*options"):

        @Router().on_text()
        async def handle(message: TextMessage, **options: str) -> None: ...


def test_unused_providers_are_checked_as_well() -> None:
    router = Router()
    router.provide(Repository, Repository)
    with pytest.raises(ConfigError, match="asks for `session: Session`"):
        router.check()


async def asks_for_what_is_defined_below(message: TextMessage, later: DefinedBelow) -> None:
    await message.reply(type(later).__name__)


_registered_early = Router()
_registered_early.on_text()(asks_for_what_is_defined_below)


class DefinedBelow: ...


async def test_what_is_defined_below_a_handler_is_found_when_the_router_is_built() -> None:
    _registered_early.provide(DefinedBelow, DefinedBelow)
    assert await dispatch(_registered_early, "x") == ["DefinedBelow"]


async def test_local_classes_are_found_by_annotation() -> None:
    class Local: ...

    router = Router()
    router.provide(Local, Local)

    @router.on_text()
    async def handle(message: TextMessage, local: Local) -> None:
        await message.reply(type(local).__name__)

    assert await dispatch(router, "x") == ["Local"]


def test_the_ear_hears_like_a_turn() -> None:
    from ilink.bot.turn import Turn

    assert {name for name in vars(Ear) if not name.startswith("_")} <= set(dir(Turn))
