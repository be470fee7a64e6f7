"""Login codes: from the code on the screen to the bot, through every status of protocol §3.1."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from typing import Final

from ilink.gateway.bots import Bots, token_of
from ilink.gateway.clock import Alarm, as_datetime
from ilink.gateway.holds import Ending, Hold
from ilink.gateway.knobs import Readings
from ilink.gateway.problems import ConflictError, InvalidRequestError, UnknownThingError
from ilink.gateway.refusals import Reply, refuse, required
from ilink.gateway.state import GatewayState
from ilink.gateway.views import CodeView
from ilink.storage.files import finished
from ilink.storage.gateway import CodeRecord
from ilink.wire.enums import LoginStatus
from ilink.wire.models import LoginStatusAnswer, QrCodeAnswer
from ilink.wire.results import INVALID_ARGUMENTS

__all__ = ["Codes"]

_OVER: Final = frozenset(
    {LoginStatus.CONFIRMED, LoginStatus.EXPIRED, LoginStatus.VERIFY_CODE_BLOCKED, LoginStatus.BOUND_REDIRECT}
)
_REMEMBERED_MS: Final = 10 * 60 * 1000
"""How long a code that ran out can still be looked at."""
_HOST: Final = re.compile(r"[A-Za-z0-9_.-]{1,253}(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](:[0-9]{1,5})?")


class _MovedError(Exception):
    """Another process changed the code that was being changed."""


class _Code:
    """A code in memory: what is stored of it, who waits for it, and which status a poll was last told."""

    __slots__ = ("alarm", "holds", "record", "reported")

    def __init__(self, record: CodeRecord) -> None:
        self.record = record
        self.reported: str | None = None
        self.holds: set[Hold] = set()
        self.alarm: Alarm | None = None


class Codes:
    """The login codes of a gateway."""

    def __init__(self, state: GatewayState, bots: Bots) -> None:
        self._state = state
        self._bots = bots
        self._codes: dict[str, _Code] = {}
        self._changing = asyncio.Lock()
        self._newcomers: set[Hold] = set()

    async def load(self) -> None:
        """Take up the codes that are stored, after a start."""
        for record in reversed(await self._state.store.codes()):
            self._keep(record)

    def forget(self) -> None:
        """Forget everything in memory, after the store was cleared."""
        self._codes.clear()

    async def create(self, tokens: Iterable[str]) -> Reply:
        """Make a code for a client that already holds these tokens."""
        known, has_stale = await self._known_bots(tokens)
        if has_stale and self._state.knobs.choice("qr.stale_token") == "-3":
            return refuse(self._state.knobs, INVALID_ARGUMENTS, "invalid arguments")
        now_ms = self._state.clock.now_ms()
        await self._drop_old(now_ms)
        qrcode = self._state.ids.qrcode()
        record = CodeRecord(
            qrcode=qrcode,
            url=f"https://liteapp.weixin.qq.com/q/{self._state.ids.short()}?qrcode={qrcode}&bot_type=3",
            secret=self._state.ids.draw("token", 32),
            status=LoginStatus.WAIT,
            created_ms=now_ms,
            expires_ms=now_ms + self._state.knobs.whole("qr.ttl_s") * 1000,
            known_bots=known,
        )
        await self._state.store.put_code(record)
        self._tell(self._keep(record))
        self._state.peers.tell("code", qrcode)
        for hold in self._newcomers:
            hold.end(Ending.NEWS)
        return Reply(body=QrCodeAnswer(ret=0, qrcode=qrcode, qrcode_img_content=record.url))

    async def poll(self, qrcode: str, *, verify_code: str, host: str, hold: Hold) -> Reply:
        """Answer a client that asks how its code is doing: at once if that is new, else after a hold."""
        if not qrcode:
            return required(self._state.knobs, "qrcode")
        code = await self._find(qrcode)
        if code is None:
            return Reply(body=LoginStatusAnswer(ret=0, status=LoginStatus.EXPIRED))
        if verify_code and self._status(code) == LoginStatus.NEED_VERIFY_CODE:
            await self._enter(qrcode, verify_code)
        elif self._seen(code, host) == code.reported and code.reported not in _OVER:
            await self._wait(code, host, hold)
        status = self._seen(code, host)
        if hold.ending is not Ending.GONE:
            code.reported = status
        return Reply(body=self._answer(code.record, status))

    async def view(self, qrcode: str) -> CodeView:
        """Return one code.

        Raises:
            UnknownThingError: There is none.
        """
        return self._view(await self._get(qrcode))

    async def views(self) -> list[CodeView]:
        """Return the codes that are remembered, newest first."""
        await self._look_at_all()
        return [self._view(code) for code in reversed(self._codes.values())]

    async def wait_unscanned(self, seconds: float) -> CodeView | None:
        """Return the newest code that nobody scanned, as soon as there is one; None after so many real seconds."""
        deadline = asyncio.get_running_loop().time() + seconds
        while True:
            hold = Hold()
            self._newcomers.add(hold)
            try:
                await self._look_at_all()
                for code in reversed(self._codes.values()):
                    if code.record.user_id is None and self._status(code) not in _OVER:
                        return self._view(code)
                left = deadline - asyncio.get_running_loop().time()
                if left <= 0 or await self._state.waiting.wait_real(hold, left) is not Ending.NEWS:
                    return None
            finally:
                self._newcomers.discard(hold)

    async def scan(self, qrcode: str, user_id: str) -> CodeView:
        """Let a person scan a code."""
        return await self._work_on(qrcode, lambda code: self._scan(code, user_id))

    async def confirm(self, qrcode: str, user_id: str | None) -> CodeView:
        """Let the person confirm; the bot exists afterwards."""

        async def work(code: _Code) -> None:
            if user_id is not None and code.record.user_id is None:
                await self._scan(code, user_id)
            await self._confirm(code, user_id)

        return await self._work_on(qrcode, work)

    async def require_code(self, qrcode: str, digits: str | None) -> CodeView:
        """Ask the client for the digits that the phone shows."""

        async def work(code: _Code) -> None:
            length = self._knobs(code.record.user_id).whole("qr.code_len")
            if digits is not None and not (len(digits) == length and digits.isascii() and digits.isdigit()):
                message = f"the code to type has {length} digits (knob qr.code_len), not {digits!r}"
                raise InvalidRequestError(message)
            self._refuse_over(code)
            asked = self._state.ids.digits(length) if digits is None else digits
            await self._change(code, status=LoginStatus.NEED_VERIFY_CODE, digits=asked, attempts=0)

        return await self._work_on(qrcode, work)

    async def redirect(self, qrcode: str, host: str) -> CodeView:
        """Send the client to another host."""
        if not _HOST.fullmatch(host):
            message = f"a host is a name and perhaps a port, without a scheme or a path, not {host!r}"
            raise InvalidRequestError(message)

        async def work(code: _Code) -> None:
            self._refuse_over(code)
            await self._change(code, status=LoginStatus.SCANNED_BUT_REDIRECT, redirect_host=host)

        return await self._work_on(qrcode, work)

    async def expire(self, qrcode: str) -> CodeView:
        """End a code."""
        return await self._work_on(qrcode, lambda code: self._change(code, status=LoginStatus.EXPIRED))

    async def _work_on(self, qrcode: str, work: Callable[[_Code], Awaitable[None]]) -> CodeView:
        """Change a code as it is in the store; again if another process changed it meanwhile.

        Cancellation: takes effect once memory says what the store does.

        Raises:
            UnknownThingError: There is no such code.
        """
        return await finished(self._change_stored(qrcode, work))

    async def _change_stored(self, qrcode: str, work: Callable[[_Code], Awaitable[None]]) -> CodeView:
        async with self._changing:
            code = await self._get(qrcode)
            while True:
                try:
                    await work(code)
                except _MovedError:
                    code = await self._get(qrcode, must_look=True)
                else:
                    return self._view(code)

    async def _scan(self, code: _Code, user_id: str) -> None:
        if await self._state.store.person(user_id) is None:
            raise UnknownThingError("person", user_id)
        self._refuse_over(code)
        if code.record.user_id not in (None, user_id):
            message = f"the code {code.record.qrcode} was scanned by somebody else"
            raise ConflictError(message)
        if code.record.user_id == user_id:
            return
        mine = {bot.bot_id for bot in await self._bots.live_ones(user_id)}
        if mine.intersection(code.record.known_bots):
            await self._change(code, status=LoginStatus.BOUND_REDIRECT, user_id=user_id)
        elif code.record.status != LoginStatus.WAIT:
            await self._change(code, user_id=user_id)
        elif self._knobs(user_id).flag("qr.require_code"):
            digits = self._state.ids.digits(self._knobs(user_id).whole("qr.code_len"))
            await self._change(code, status=LoginStatus.NEED_VERIFY_CODE, user_id=user_id, digits=digits, attempts=0)
        else:
            await self._change(code, status=LoginStatus.SCANNED, user_id=user_id)

    async def _confirm(self, code: _Code, user_id: str | None) -> None:
        owner = code.record.user_id
        if self._status(code) == LoginStatus.CONFIRMED and user_id in (None, owner):
            return
        self._refuse_over(code)
        if owner is None:
            message = f"nobody has scanned the code {code.record.qrcode}; scan it first or say who does"
            raise ConflictError(message)
        if user_id not in (None, owner):
            message = f"the code {code.record.qrcode} was scanned by somebody else"
            raise ConflictError(message)
        if code.record.status == LoginStatus.NEED_VERIFY_CODE:
            message = f"the client has not sent the digits of the code {code.record.qrcode} yet"
            raise ConflictError(message)
        bot = await self._bots.bind(replace(code.record, status=LoginStatus.CONFIRMED), owner)
        if bot is None:
            raise _MovedError
        self._changed(code, replace(code.record, status=LoginStatus.CONFIRMED, bot_id=bot.bot_id))

    async def _enter(self, qrcode: str, entered: str) -> None:
        """Compare what the client sent with the digits; each wrong attempt counts."""

        async def work(code: _Code) -> None:
            if self._status(code) != LoginStatus.NEED_VERIFY_CODE:
                return
            if entered.strip() == code.record.digits:
                await self._change(code, status=LoginStatus.SCANNED, digits=None)
                return
            attempts = code.record.attempts + 1
            is_blocked = attempts >= self._knobs(code.record.user_id).whole("qr.code_attempts")
            status = LoginStatus.VERIFY_CODE_BLOCKED if is_blocked else LoginStatus.NEED_VERIFY_CODE
            await self._change(code, status=status, attempts=attempts)

        await self._work_on(qrcode, work)

    async def _wait(self, code: _Code, host: str, hold: Hold) -> None:
        """Wait until the status is another than the one that was told last."""
        code.holds.add(hold)
        try:
            while self._seen(code, host) == code.reported:
                seconds = self._knobs(code.record.user_id).whole("qr.hold_ms") / 1000
                if await self._state.waiting.wait(hold, seconds) is not Ending.NEWS:
                    return
                hold.begin_again()
        finally:
            code.holds.discard(hold)
            hold.close()

    async def _change(
        self,
        code: _Code,
        *,
        status: str | None = None,
        user_id: str | None = None,
        digits: str | None = None,
        attempts: int | None = None,
        redirect_host: str | None = None,
    ) -> None:
        """Store a change and then show it; what is not given stays, but digits end with their status."""
        old = code.record
        status = old.status if status is None else status
        keeps_digits = status == LoginStatus.NEED_VERIFY_CODE and digits is None
        record = replace(
            old,
            status=status,
            user_id=user_id or old.user_id,
            digits=old.digits if keeps_digits else digits,
            attempts=old.attempts if attempts is None else attempts,
            redirect_host=redirect_host or old.redirect_host,
        )
        if not await self._state.store.change_code(old, record):
            raise _MovedError
        self._changed(code, record)

    def _changed(self, code: _Code, record: CodeRecord) -> None:
        code.record = record
        self._tell(code)
        self._state.peers.tell("code", record.qrcode)
        self._wake(code)

    def _wake(self, code: _Code) -> None:
        for hold in code.holds:
            hold.end(Ending.NEWS)

    def _knobs(self, user_id: str | None) -> Readings:
        """Return the knobs for a code that a person scanned, or that nobody has."""
        return self._state.knobs.about(0, user_id)

    def _refuse_over(self, code: _Code) -> None:
        status = self._status(code)
        if status in _OVER:
            message = f"the code {code.record.qrcode} is over: {status}"
            raise ConflictError(message)

    def _status(self, code: _Code) -> str:
        is_late = self._state.clock.now_ms() >= code.record.expires_ms
        return LoginStatus.EXPIRED if is_late else code.record.status

    def _seen(self, code: _Code, host: str) -> str:
        """Return the status as a client sees it that asks at a host: where it was sent to, the redirect is done."""
        status = self._status(code)
        if status == LoginStatus.SCANNED_BUT_REDIRECT and host.lower() == (code.record.redirect_host or "").lower():
            return LoginStatus.SCANNED if code.record.user_id else LoginStatus.WAIT
        return status

    def _answer(self, record: CodeRecord, status: str) -> LoginStatusAnswer:
        answer = LoginStatusAnswer(ret=0, status=status)
        if status == LoginStatus.CONFIRMED and record.bot_id and record.user_id:
            answer.bot_token = token_of(record.bot_id, record.secret).reveal()
            answer.ilink_bot_id = record.bot_id
            answer.ilink_user_id = record.user_id
            answer.baseurl = self._state.api_url
        elif status == LoginStatus.SCANNED_BUT_REDIRECT and record.redirect_host:
            answer.redirect_host = record.redirect_host
        return answer

    async def _known_bots(self, tokens: Iterable[str]) -> tuple[tuple[str, ...], bool]:
        """Return the live bots that tokens belong to, and whether a token belongs to none."""
        known: list[str] = []
        has_stale = False
        for token in tokens:
            bot = await self._bots.by_token(token.strip())
            if bot is not None and self._bots.why_stale(bot) is None:
                known.append(bot.bot_id)
            else:
                has_stale = True
        return tuple(known), has_stale

    async def _drop_old(self, now_ms: int) -> None:
        """Forget codes that ran out a while ago, and with them what their tokens follow from."""
        old = [code for code in self._codes.values() if code.record.expires_ms < now_ms - _REMEMBERED_MS]
        if old:
            await self._state.store.drop_codes(expired_before_ms=now_ms - _REMEMBERED_MS)
            for code in old:
                self._codes.pop(code.record.qrcode, None)

    async def _get(self, qrcode: str, *, must_look: bool = False) -> _Code:
        code = await self._find(qrcode, must_look=must_look)
        if code is None:
            raise UnknownThingError("code", qrcode)
        return code

    async def _find(self, qrcode: str, *, must_look: bool = False) -> _Code | None:
        """Return a code, or None; where others write too, memory is not believed without a look into the store."""
        if not (self._state.peers.is_shared or must_look):
            return self._codes.get(qrcode)
        record = await self._state.store.code(qrcode)
        if record is None:
            self._drop(qrcode)
            return None
        return self._take(record)

    async def _look_at_all(self) -> None:
        """Take up what other processes did to codes."""
        if not self._state.peers.is_shared:
            return
        records = await self._state.store.codes()
        for qrcode in self._codes.keys() - {record.qrcode for record in records}:
            self._drop(qrcode)
        self._codes = {record.qrcode: self._take(record) for record in reversed(records)}

    async def look_again(self, qrcodes: Iterable[str]) -> None:
        """Take up what other processes did to some codes, and wake whoever waits for them or for a new one."""
        for qrcode in qrcodes:
            if qrcode in self._codes:
                await self._find(qrcode)
        for hold in self._newcomers:
            hold.end(Ending.NEWS)

    @property
    def awaited(self) -> list[str]:
        """The codes that somebody waits for here."""
        return [code.record.qrcode for code in self._codes.values() if code.holds]

    def _take(self, record: CodeRecord) -> _Code:
        """Return a code in memory as the store has it, and wake whoever waits for a change of it."""
        code = self._codes.get(record.qrcode)
        if code is None:
            return self._keep(record)
        if code.record != record:
            code.record = record
            self._wake(code)
        return code

    def _drop(self, qrcode: str) -> None:
        """Forget a code that is no more."""
        code = self._codes.pop(qrcode, None)
        if code is not None:
            code.record = replace(code.record, status=LoginStatus.EXPIRED)
            self._wake(code)

    def _keep(self, record: CodeRecord) -> _Code:
        code = self._codes[record.qrcode] = _Code(record)
        if record.expires_ms > self._state.clock.now_ms() and record.status not in _OVER:
            code.alarm = self._state.clock.at(record.expires_ms / 1000, lambda: self._ran_out(code))
        return code

    def _ran_out(self, code: _Code) -> None:
        if code.record.status not in _OVER:
            self._tell(code)
            self._wake(code)

    def _view(self, code: _Code) -> CodeView:
        record = code.record
        return CodeView(
            qrcode=record.qrcode,
            url=record.url,
            status=self._status(code),
            created_at=as_datetime(record.created_ms),
            expires_at=as_datetime(record.expires_ms),
            user_id=record.user_id,
            verify_code=record.digits,
            redirect_host=record.redirect_host,
            bot_id=record.bot_id,
        )

    def _tell(self, code: _Code) -> None:
        data: dict[str, object] = {
            "qrcode": code.record.qrcode,
            "status": self._status(code),
            "user_id": code.record.user_id,
            "bot_id": code.record.bot_id,
        }
        self._state.publish("qr", data)
