"""The login as a person sees it: what is shown, what is asked, how it ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from stub_server import URL, Answer, Asked, StubServer

from ilink.client.client import Client
from ilink.client.login import log_in
from ilink.errors import ApiError, ConnectError, LoginCancelledError, LoginError, QrCodeExpiredError
from ilink.flows.login import AlreadyBound, LoginCode
from ilink.transport.memory import MemoryTransport
from ilink.wire.accounts import Account
from ilink.wire.ids import AccountId, Secret, UserId

IDC = "https://idc7.weixin.qq.com"
CONFIRMED = {
    "ret": 0,
    "status": "confirmed",
    "bot_token": "a@im.bot:t",
    "ilink_bot_id": "a@im.bot",
    "ilink_user_id": "oW@im.wechat",
    "baseurl": URL,
}
ACCOUNT = Account(
    account_id=AccountId("a@im.bot"), token=Secret("a@im.bot:t"), base_url=URL, owner_id=UserId("oW@im.wechat")
)


class FakeClock:
    def __init__(self) -> None:
        self.now = 0.0
        self.pauses: list[float] = []

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)


class Prompt:
    """A person who types what the test says."""

    def __init__(self, *digits: str) -> None:
        self.digits = list(digits)
        self.codes: list[LoginCode] = []
        self.statuses: list[str] = []
        self.asked: list[bool] = []

    async def show_code(self, code: LoginCode) -> None:
        self.codes.append(code)

    async def show_status(self, status: str, code: LoginCode) -> None:
        self.statuses.append(status)

    async def ask_verify_code(self, *, was_wrong: bool) -> str:
        self.asked.append(was_wrong)
        return self.digits.pop(0)


def codes() -> Callable[[Asked], Any]:
    """Return a script that gives out code-1, code-2 and so on."""
    count = 0

    def give(_: Asked) -> dict[str, Any]:
        nonlocal count
        count += 1
        return {"ret": 0, "qrcode": f"code-{count}", "qrcode_img_content": f"https://link/{count}"}

    return give


def status(*words: str | Any) -> list[Any]:
    return [{"ret": 0, "status": word} if isinstance(word, str) else word for word in words]


@asynccontextmanager
async def login_server(statuses: list[Any], **scripts: Any) -> AsyncIterator[tuple[StubServer, Client, FakeClock]]:
    server, clock = StubServer(get_bot_qrcode=codes(), get_qrcode_status=statuses, **scripts), FakeClock()
    async with (
        server.transport(URL, IDC) as transport,
        Client(base_url=URL, transport=transport, clock=clock, environ={}) as client,
    ):
        yield server, client, clock


async def test_scan_and_confirmation_give_the_account() -> None:
    prompt = Prompt()
    async with login_server(status("wait", "wait", "scaned", "scaned", CONFIRMED)) as (server, client, clock):
        assert await log_in(client, prompt, known_tokens=[Secret("t1")], clock=clock) == ACCOUNT
    assert prompt.codes == [LoginCode(qrcode="code-1", link="https://link/1", number=1)]
    assert prompt.statuses == ["wait", "scaned", "confirmed"]
    assert server.asked[0].body == {"local_token_list": ["t1"]}
    assert clock.pauses == [1.0] * 5


async def test_digits_are_asked_for_until_they_are_right() -> None:
    prompt = Prompt("111111", "222222", "333333")
    answers = status("scaned", "need_verifycode", "need_verifycode", "need_verifycode", "scaned", CONFIRMED)
    async with login_server(answers) as (server, client, clock):
        assert await log_in(client, prompt, clock=clock) == ACCOUNT
    assert prompt.asked == [False, True, True]
    sent = [asked.query.get("verify_code") for asked in server.asked[1:]]
    assert sent == [None, None, "111111", "222222", "333333", None]
    assert clock.pauses == [1.0, 1.0, 0.0, 0.0, 0.0, 1.0]


async def test_blocked_code_is_followed_by_a_new_one() -> None:
    prompt = Prompt("1", "2", "3")
    wrong = ["need_verifycode"] * 3
    async with login_server(status(*wrong, "verify_code_blocked", "scaned", CONFIRMED)) as (server, client, clock):
        assert await log_in(client, prompt, clock=clock) == ACCOUNT
    assert [code.number for code in prompt.codes] == [1, 2]
    assert server.asked[-1].query == {"qrcode": "code-2"}


async def test_three_codes_run_out() -> None:
    prompt = Prompt()
    async with login_server(status("expired")) as (_, client, clock):
        with pytest.raises(QrCodeExpiredError, match="3 codes ran out"):
            await log_in(client, prompt, clock=clock)
    assert [code.qrcode for code in prompt.codes] == ["code-1", "code-2", "code-3"]


async def test_redirect_is_followed_and_forgotten_with_the_next_code() -> None:
    redirect = {"ret": 0, "status": "scaned_but_redirect", "redirect_host": "idc7.weixin.qq.com"}
    answers = status("wait", redirect, "scaned", "expired", "wait", CONFIRMED)
    async with login_server(answers) as (server, client, clock):
        assert await log_in(client, Prompt(), clock=clock) == ACCOUNT
    hosts = [asked.host for asked in server.asked]
    here, there = "ilink.test", "idc7.weixin.qq.com"
    assert hosts == [here, here, here, there, there, here, here, here]


async def test_redirect_to_a_foreign_host_ends_the_login() -> None:
    redirect = {"ret": 0, "status": "scaned_but_redirect", "redirect_host": "evil.example"}
    async with login_server(status(redirect, CONFIRMED)) as (server, client, clock):
        with pytest.raises(LoginError, match=r"redirect_host names https://evil\.example.*allow_hosts"):
            await log_in(client, Prompt(), clock=clock)
    assert {asked.host for asked in server.asked} == {"ilink.test"}


@pytest.mark.parametrize("address", ["https://evil.example", "http://ilinkai.weixin.qq.com", "nonsense"])
async def test_account_on_a_foreign_host_is_no_login(address: str) -> None:
    async with login_server(status({**CONFIRMED, "baseurl": address})) as (_, client, clock):
        with pytest.raises(LoginError, match="the login's baseurl names") as caught:
            await log_in(client, Prompt(), clock=clock)
    assert "a@im.bot:t" not in str(caught.value)


async def test_account_abroad_is_served_there() -> None:
    answer = {**CONFIRMED, "baseurl": "https://ilinkai.wechat.com"}
    async with login_server(status(answer)) as (_, client, clock):
        account = await log_in(client, Prompt(), clock=clock)
    assert isinstance(account, Account)
    assert account.base_url == "https://ilinkai.wechat.com"


async def test_bot_that_is_bound_here_already_is_a_success_without_credentials() -> None:
    async with login_server(status("scaned", "binded_redirect")) as (_, client, clock):
        assert await log_in(client, Prompt(), known_tokens=[Secret("t1")], clock=clock) == AlreadyBound()


@pytest.mark.parametrize("missing", ["bot_token", "ilink_bot_id"])
async def test_confirmation_without_credentials_is_an_error(missing: str) -> None:
    answer = {name: value for name, value in CONFIRMED.items() if name != missing}
    async with login_server(status(answer)) as (_, client, clock):
        with pytest.raises(LoginError, match=missing):
            await log_in(client, Prompt(), clock=clock)


@pytest.mark.parametrize(
    "failure",
    [
        Answer(b"", status=524),
        Answer(b"", status=500),
        Answer(b"", status=404),
        Answer(b"<html>"),
        {"ret": -1},
        {"ret": 0, "status": "a_new_status"},
        {"ret": 0},
        b"",
    ],
    ids=["524", "500", "404", "html", "ret-1", "unknown", "no-status", "empty"],
)
async def test_question_that_fails_counts_as_wait(failure: Any) -> None:
    async with login_server(status("wait", failure, failure, CONFIRMED)) as (_, client, clock):
        assert await log_in(client, Prompt(), clock=clock) == ACCOUNT


async def test_login_ends_when_its_time_is_over() -> None:
    async with login_server(status("wait")) as (server, client, clock):
        with pytest.raises(QrCodeExpiredError, match="in time, after 1 codes"):
            await log_in(client, Prompt(), clock=clock, timeout=480)
    assert 480 <= clock.now <= 481
    assert len(server.asked) == 481


async def test_login_that_could_not_ask_says_so_at_the_end() -> None:
    async with login_server(status(Answer(b"", status=502))) as (_, client, clock):
        with pytest.raises(LoginError, match=r"could not be asked: .*HTTP 502"):
            await log_in(client, Prompt(), clock=clock, timeout=5)


async def test_login_without_a_code_fails_with_the_reason() -> None:
    clock = FakeClock()
    server = StubServer(get_bot_qrcode={"ret": -1, "errmsg": "busy"})
    async with server.transport() as transport, Client(base_url=URL, transport=transport, environ={}) as client:
        with pytest.raises(ApiError, match="busy"):
            await log_in(client, Prompt(), clock=clock)
    async with MemoryTransport({}) as transport, Client(transport=transport, clock=clock, environ={}) as client:
        with pytest.raises(ConnectError):
            await log_in(client, Prompt(), clock=clock)


async def test_interrupted_login_goes_on_with_its_code() -> None:
    redirect = {"ret": 0, "status": "scaned_but_redirect", "redirect_host": "idc7.weixin.qq.com"}
    kept: list[LoginCode] = []

    class Interrupted(Prompt):
        async def show_status(self, status: str, code: LoginCode) -> None:
            kept.append(code)
            if status == "scaned_but_redirect":
                raise LoginCancelledError

    async with login_server(status("wait", redirect, "scaned", CONFIRMED)) as (server, client, clock):
        with pytest.raises(LoginCancelledError):
            await log_in(client, Interrupted(), clock=clock)
        prompt = Prompt()
        assert await log_in(client, prompt, resume=kept[-1], clock=clock) == ACCOUNT
    assert prompt.codes == [kept[-1]]
    assert [asked.path.rpartition("/")[2] for asked in server.asked].count("get_bot_qrcode") == 1
    assert server.asked[-1].host == "idc7.weixin.qq.com"


async def test_person_who_types_nothing_in_time_ends_the_login() -> None:
    class Absent(Prompt):
        async def ask_verify_code(self, *, was_wrong: bool) -> str:
            clock.now += 1000
            await asyncio.Event().wait()
            return ""

    server, clock = StubServer(get_bot_qrcode=codes(), get_qrcode_status=status("need_verifycode")), FakeClock()
    async with server.transport() as transport, Client(base_url=URL, transport=transport, environ={}) as client:
        with pytest.raises(QrCodeExpiredError, match="in time"):
            await log_in(client, Absent(), clock=clock, timeout=1.05)


@pytest.mark.parametrize("steps", range(0, 60, 3))
async def test_cancelling_at_any_step_ends_the_login_and_leaves_nothing(steps: int) -> None:
    answers = status("wait", "scaned", "need_verifycode", "need_verifycode", "scaned", "wait")
    async with login_server(answers) as (_, client, clock):
        before = asyncio.all_tasks()
        login = asyncio.create_task(log_in(client, Prompt("1", "2"), clock=clock, timeout=10**9))
        for _ in range(steps):
            await asyncio.sleep(0)
        login.cancel()
        with pytest.raises(asyncio.CancelledError):
            await login
        for _ in range(5):
            await asyncio.sleep(0)
        assert asyncio.all_tasks() <= before
