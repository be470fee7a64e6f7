"""Routers: order, nesting, middleware both ways, errors, policies, and the nearest handler."""

from __future__ import annotations

import logging
import re
from typing import Any

import pytest
from routing_house import dispatch, message, taken_by

from ilink import Bot, ConfigError, FileMessage, Invocation, Message, Next, Router, TextMessage, filters
from ilink.bot.lane_policy import LanePolicy
from ilink.bot.routing.dispatch import Dispatch
from ilink.bot.routing.rules import Probe

RESTART = LanePolicy(mode="restart")


def answering(word: str) -> Any:
    async def answer(message: Message) -> None:
        await message.reply(word)

    return answer


async def test_the_first_handler_that_takes_a_message_gets_it() -> None:
    router, inner, last = Router(), Router(), Router()
    inner.on_text(filters.contains("b"))(answering("inner"))
    last.on_text(filters.contains("a"))(answering("last"))
    router.include(inner, last)
    router.on_text(filters.contains("c"))(answering("outer"))
    answers = [await dispatch(router, said) for said in ("abc", "ab", "a", "x")]
    assert answers == [["outer"], ["inner"], ["last"], []]


@pytest.mark.parametrize("said", ["abc", "abd"])
async def test_the_order_holds_whatever_the_filters_look_at(said: str) -> None:
    conditions = [
        filters.contains("bd"),
        filters.startswith("abc"),
        filters.contains("c"),
        filters.startswith("a"),
        filters.matches("ab."),
        filters.where(lambda one: True),
        filters.startswith("ab"),
    ]
    for first in range(len(conditions)):
        router = Router()
        rest = conditions[first:]
        for condition in rest:
            router.on_text(condition)(answering(condition.rule.words))
        expected = next(one for one in rest if one.rule.test(Probe(message(said))) is not None)
        assert await dispatch(router, said) == [expected.rule.words]


async def test_conditions_of_a_router_hold_for_everything_in_it() -> None:
    router, inner, innermost = (
        Router(),
        Router(filters.from_user("boss@im.wechat")),
        Router(lambda one: "now" in one.text),
    )
    innermost.on_any()(answering("yes"))
    inner.include(innermost)
    router.include(inner)
    said = [message("now", user="boss@im.wechat"), message("later", user="boss@im.wechat"), message("now")]
    assert [await dispatch(router, one) for one in said] == [["yes"], [], []]


async def test_conditions_of_a_router_capture() -> None:
    router = Router(filters.matches(r"(?P<shop>\w+): .*"))

    @router.on_text(filters.matches(r".* (?P<count>\d+)"))
    async def handle(message: TextMessage, shop: str, count: int) -> None:
        await message.reply(f"{shop} {count}")

    assert await dispatch(router, "tea: give 3") == ["tea 3"]


def test_a_router_cannot_include_itself_or_what_is_around_it() -> None:
    outer, middle, inner = Router(name="outer"), Router(name="middle"), Router(name="inner")
    outer.include(middle)
    middle.include(inner)
    with pytest.raises(ConfigError, match=r"Router \(.*test_routers.py:\d+ outer\) cannot include itself"):
        outer.include(outer)
    with pytest.raises(ConfigError, match=r"inner\) cannot include Router \(.*outer\), which includes it"):
        inner.include(outer)


def test_a_router_stands_in_one_place() -> None:
    first, second, inner = Router(name="first"), Router(name="second"), Router(name="inner")
    first.include(inner)
    with pytest.raises(ConfigError, match=r"second\) cannot include .*inner\): it is included by .*first\) already"):
        second.include(inner)
    with pytest.raises(ConfigError, match="already"):
        first.include(inner)


def test_a_bot_is_included_by_nobody() -> None:
    with pytest.raises(ConfigError, match="a bot includes routers and is included by none"):
        Router().include(Bot(environ={}))


async def test_middleware_goes_around_handlers_from_the_outside_in() -> None:
    router, inner = Router(), Router()
    seen: list[str] = []

    def noting(name: str) -> Any:
        async def around(invocation: Invocation, call_next: Next) -> None:
            seen.append(f"{name} {invocation.message.text}")
            await call_next()
            seen.append(f"/{name}")

        return around

    inner.middleware(noting("inner"))
    router.middleware(noting("first"))
    router.middleware(noting("second"))

    @inner.on_text()
    async def handle(message: TextMessage) -> None:
        seen.append("handler")

    router.include(inner)
    await dispatch(router, "x")
    assert seen == ["first x", "second x", "inner x", "handler", "/inner", "/second", "/first"]


async def test_middleware_may_keep_a_message_to_itself_and_sees_errors() -> None:
    router = Router()
    seen: list[str] = []

    @router.middleware
    async def guard(invocation: Invocation, call_next: Next) -> None:
        if invocation.message.text == "stop":
            await invocation.message.reply("stopped")
            return
        try:
            await call_next()
        except ValueError:
            seen.append("seen")
            raise

    @router.on_text()
    async def handle(message: TextMessage) -> None:
        raise ValueError

    assert await dispatch(router, "stop") == ["stopped"]
    with pytest.raises(ValueError):  # noqa: PT011
        await dispatch(router, "go")
    assert seen == ["seen"]


async def test_outgoing_texts_are_changed_from_the_inside_out() -> None:
    router, inner = Router(), Router()
    router.outgoing(lambda text, message: f"<{text} to {message.user.partition('@')[0]}>")
    inner.outgoing(lambda text, message: text.upper())
    router.on_text(filters.equals("out"))(answering("outer"))
    inner.on_text()(answering("inner"))
    router.include(inner)
    assert await dispatch(router, "out") == ["<outer to alice>"]
    assert await dispatch(router, "in") == ["<INNER to alice>"]


async def test_errors_go_to_the_innermost_handler_of_the_nearest_class() -> None:
    router, inner = Router(), Router()

    @router.on_error()
    async def outermost(error: Exception, message: Message) -> None:
        await message.reply(f"outer {error!r}")

    @inner.on_error(ArithmeticError, LookupError)
    async def broad(error: ArithmeticError | LookupError, message: Message) -> None:
        await message.reply("broad")

    @inner.on_error(ZeroDivisionError)
    async def narrow(error: ZeroDivisionError, message: Message, invocation: Invocation) -> None:
        await message.reply(f"narrow {invocation.handler.place.name.rpartition('.')[2]}")

    @inner.on_text()
    async def handle(message: TextMessage) -> None:
        await message.reply("this is forgotten")
        raise {"zero": ZeroDivisionError, "key": KeyError, "value": ValueError}[message.text]

    router.include(inner)
    assert await dispatch(router, "zero") == ["narrow handle"]
    assert await dispatch(router, "key") == ["broad"]
    assert await dispatch(router, "value") == ["outer ValueError()"]


async def test_what_an_error_handler_raises_goes_further_out() -> None:
    router, inner = Router(), Router()

    @router.on_error(RuntimeError)
    async def outer(error: RuntimeError, message: Message) -> None:
        await message.reply(f"outer {error}")

    @inner.on_error(ValueError)
    async def again(error: ValueError, message: Message) -> None:
        await message.reply("not said")
        raise RuntimeError("again")

    @inner.on_text()
    async def handle(message: TextMessage) -> None:
        raise ValueError

    router.include(inner)
    assert await dispatch(router, "x") == ["outer again"]


async def test_an_error_that_nobody_takes_stays() -> None:
    router = Router()

    @router.on_error(KeyError)
    async def other(error: KeyError, message: Message) -> None: ...

    @router.on_error(ValueError)
    async def worse(error: ValueError, message: Message) -> None:
        raise OSError("worse")

    @router.on_text()
    async def handle(message: TextMessage) -> None:
        raise {"v": ValueError, "r": RuntimeError}[message.text]

    with pytest.raises(RuntimeError):
        await dispatch(router, "r")
    with pytest.raises(OSError, match="worse"):
        await dispatch(router, "v")


def test_one_error_has_one_handler_in_a_router() -> None:
    router = Router()

    @router.on_error(ValueError, KeyError)
    async def first(error: ValueError | KeyError, message: Message) -> None: ...

    with pytest.raises(ConfigError, match=r"second: this error handler is for KeyError, as .*first is"):

        @router.on_error(KeyError)
        async def second(error: KeyError, message: Message) -> None: ...


def _no_coroutine(message: Message) -> None: ...
async def _nothing() -> None: ...
async def _only_by_name(*, message: Message) -> None: ...


@pytest.mark.parametrize(
    ("register", "function", "why"),
    [
        (lambda router: router.on_text(), _no_coroutine, "this handler has to be an `async def` function"),
        (lambda router: router.on_text(), _nothing, "this handler has to take the message first"),
        (lambda router: router.on_command("x"), _only_by_name, "this handler has to take the message first"),
        (lambda router: router.on_error(), _no_coroutine, "this error handler has to be an `async def` function"),
        (lambda router: router.on_error(), _nothing, "has to take the error and the message first"),
        (lambda router: router.middleware, _nothing, "has to take the invocation and what to call next first"),
        (lambda router: router.middleware, _no_coroutine, "this middleware has to be an `async def` function"),
        (lambda router: router.on_startup, _no_coroutine, "this startup hook has to be an `async def` function"),
        (lambda router: router.on_shutdown, _no_coroutine, "this shutdown hook has to be an `async def` function"),
    ],
)
def test_wrong_signatures_are_refused_where_they_are_registered(register: Any, function: Any, why: str) -> None:
    line = function.__code__.co_firstlineno
    with pytest.raises(ConfigError, match=rf"test_routers.py:{line} {function.__name__}: .*{why}"):
        register(Router())(function)


async def test_a_callable_object_may_be_a_handler() -> None:
    class Answer:
        async def __call__(self, message: TextMessage) -> None:
            await message.reply("object")

    router = Router()
    router.on_text()(Answer())
    assert await dispatch(router, "x") == ["object"]


@pytest.mark.parametrize(
    ("said", "nearest"),
    [
        (
            message("hlep"),
            r"test_routers.py:\d+ .*on_command\('help', '帮助'\): the text does not begin with a command",
        ),
        (message("/hlep"), r"on_command\('help', '帮助'\): the command is /hlep"),
        (message("order x"), r"order on_text\(filters.startswith\('order'\), filters.*: the text does not match"),
        (message("order 99999 x"), r"order on_text"),
        (message(kind="file"), r"on_file\(.*is_small\): the filter .*is_small says no"),
        (message("x", kind="video"), r"it is a VideoMessage, not a (FileMessage|TextMessage)"),
    ],
)
def test_the_nearest_handler_and_what_refused_are_named(said: Message, nearest: str) -> None:
    router = Router()

    @router.on_command("help", "帮助")
    async def manual(message: TextMessage) -> None: ...

    def is_small(one: Message) -> bool:
        return False

    @router.on_file(is_small)
    async def keep(message: FileMessage) -> None: ...

    @router.on_text(filters.startswith("order"), filters.matches(r"order (?P<count>\d+)"))
    async def order(message: TextMessage, count: int) -> None: ...

    found = Dispatch(router.registered).explain(said)
    assert re.search(nearest, found), found


def test_the_nearest_handler_tells_what_could_not_be_read() -> None:
    router = Router()

    @router.on_text(filters.matches(r"order (?P<count>\w+)"))
    async def order(message: TextMessage, count: int) -> None: ...

    assert (
        Dispatch(router.registered)
        .explain(message("order x"))
        .endswith("what was captured for count cannot be read as what the handler asks for")
    )
    assert Dispatch(Router().registered).explain(message("x")) == "there is no handler"


def test_combined_filters_tell_which_of_them_refused() -> None:
    def nearest(condition: Any) -> str:
        router = Router()
        router.on_text(condition)(answering(""))
        return Dispatch(router.registered).explain(message("a")).partition("): ")[2]

    assert nearest(filters.contains("a") & filters.contains("b")) == "the text does not contain 'b'"
    assert nearest(filters.contains("b") | filters.equals("c")) == (
        "the text does not contain 'b', and the text is not 'c'"
    )
    assert nearest(~filters.contains("a")) == "filters.contains('a') holds"


def test_a_policy_is_planned_without_running_anything() -> None:
    router = Router()
    router.on_command("stop", policy=LanePolicy(overtakes=True))(answering(""))
    router.on_text(filters.contains("a"), policy=RESTART)(answering(""))
    router.on_text()(answering(""))
    dispatch = Dispatch(router.registered)
    plans = [dispatch.plan(message(text)) for text in ("/stop", "a", "b")]
    assert plans == [LanePolicy(overtakes=True), RESTART, None]


def test_nothing_is_planned_without_policies(monkeypatch: pytest.MonkeyPatch) -> None:
    router = Router()
    router.on_text(lambda one: pytest.fail("nobody asked"))(answering(""))
    assert Dispatch(router.registered).plan(message("x")) is None


async def _slow(message: Message) -> bool:
    return True


@pytest.mark.parametrize(
    "register",
    [
        lambda router: router.on_text(_slow, policy=RESTART)(answering("")),
        lambda router: router.on_command("x", _slow, policy=RESTART)(answering("")),
        lambda router: (router.on_any(_slow)(answering("")), router.on_text(policy=RESTART)(answering(""))),
    ],
)
def test_a_policy_cannot_depend_on_what_has_to_wait(register: Any) -> None:
    router = Router()
    register(router)
    with pytest.raises(
        ConfigError, match=r"has a policy, which is looked at before anything runs, and .*_slow has to wait"
    ):
        router.check()


def test_waiting_filters_behind_policies_or_of_other_kinds_do_not_matter() -> None:
    router = Router()
    router.on_file(_slow)(answering(""))
    router.on_text(filters.contains("a"), policy=RESTART)(answering(""))
    router.on_text(filters.contains("b"), _slow)(answering(""))
    built = Dispatch(router.registered)
    assert (built.plan(message("a")), built.plan(message("b"))) == (RESTART, None)


def test_a_handler_that_is_never_called_is_told_of(caplog: pytest.LogCaptureFixture) -> None:
    router = Router()

    @router.on_text()
    async def greedy(message: TextMessage) -> None: ...

    @router.on_text(filters.contains("a"))
    async def hidden(message: TextMessage) -> None: ...

    @router.on_any()
    async def rest(message: Message) -> None: ...

    with caplog.at_level(logging.WARNING):
        router.check()
    (line,) = caplog.messages
    assert "hidden is never called" in line
    assert "greedy takes everything before it" in line


async def test_names_stay_what_they_are() -> None:
    router = Router()

    @router.on_text()
    async def handle(message: TextMessage) -> None: ...

    match = await Dispatch(router.registered).find(message("x"))
    assert match is not None
    assert match.route.name == f"{__name__}.test_names_stay_what_they_are.<locals>.handle"
    assert await taken_by(router, "x") == "test_names_stay_what_they_are.handle"


async def test_nothing_is_registered_while_the_bot_runs() -> None:
    router, inner = Router(name="outer"), Router(name="inner")
    router.include(inner)
    async with Dispatch(router.registered).lifespan():
        for register in (
            lambda: inner.on_text()(answering("")),
            lambda: router.include(Router()),
            lambda: router.provide(int, lambda: 1),
            lambda: router.outgoing(lambda text, message: text),
        ):
            with pytest.raises(ConfigError, match=r"test_routers.py:\d+: Router \(.*\) runs already"):
                register()
    inner.on_text()(answering("later"))
    assert await dispatch(router, "x") == ["later"]
