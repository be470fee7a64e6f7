"""sendmessage: what is accepted, what is shown, and what is refused with which words (protocol §2.4, §3.4, §6)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from ilink.gateway.bots import Bot
from ilink.gateway.ids import MESSAGE_ID_BASE
from ilink.gateway.knobs import Readings
from ilink.gateway.refusals import Reply, refuse, required, window_words
from ilink.gateway.state import GatewayState
from ilink.storage.gateway import ChatFacts, Judgement, SendDraft
from ilink.wire.enums import ItemType, MessageState, MessageType
from ilink.wire.models import MessageItem, SendMessageAnswer, WeixinMessage, given
from ilink.wire.results import INVALID_ARGUMENTS, PARAMETER_ERROR

__all__ = ["Sends", "judge"]

_PREPARE_FAILED: Final = "prepare failed"
_RATE_LIMITED: Final = "rate limited"
_TEN: Final = 10
"""Messages since the person last wrote (observed: ocw#81), whatever the knob says."""

_TOOL_ITEMS: Final = frozenset({ItemType.TOOL_CALL_START, ItemType.TOOL_CALL_RESULT})


@dataclass(frozen=True, slots=True)
class _Send:
    """What a rule looks at: the message, when it came, and what is so of the bot at that moment.

    Attributes:
        is_notified: Whether notifystart came before.
        is_dropped: Whether a fault drops it.
        has_read_all: Whether the bot acknowledged everything that was written to it.
    """

    message: WeixinMessage
    at_ms: int
    is_notified: bool
    is_dropped: bool = False
    has_read_all: bool = False

    @property
    def items(self) -> list[MessageItem]:
        return given(self.message.item_list, list[MessageItem]())

    @property
    def context_token(self) -> str:
        return given(self.message.context_token, "")


class Sends:
    """The sends of all bots."""

    def __init__(self, state: GatewayState) -> None:
        self._state = state

    async def send(
        self, bot: Bot, message: WeixinMessage | None, body: bytes, *, is_dropped: bool = False
    ) -> tuple[Reply, int | None]:
        """Judge and store a message of a bot.

        Args:
            bot: Whose it is.
            message: The message as read, or None when the request had none.
            body: The request as it came, which is what is kept.
            is_dropped: Whether it is accepted and never shown, because a fault says so.

        Returns:
            The answer, and the number of the entry that was added, if one was.
        """
        to_user_id = "" if message is None else given(message.to_user_id, "")
        knobs = self._state.knobs_about(bot, to_user_id)
        if message is None:
            return required(knobs, "msg"), None
        if not to_user_id:
            return required(knobs, "to_user_id"), None
        send = _Send(message, self._state.clock.now_ms(), bot.is_notified, is_dropped, bot.acked_seq >= bot.head_seq)
        draft = _draft(bot, to_user_id, send, body, knobs)
        outcome = await self._state.store.send(draft, lambda facts: judge(facts, send, knobs))
        added = None if outcome.is_repeat else outcome.n
        if added is not None:
            self._tell(bot, to_user_id, added, outcome.judgement)
        return _reply(outcome.judgement, outcome.n, knobs, is_repeat=outcome.is_repeat), added

    def _tell(self, bot: Bot, user_id: str, n: int, judgement: Judgement) -> None:
        data: dict[str, object] = {"bot_id": bot.bot_id, "user_id": user_id, "n": n, "direction": "out"}
        later = judgement.shown_ms
        if later is None:
            self._state.publish("message", {**data, "state": judgement.state})
            return
        self._state.publish("message", {**data, "state": "stored"})
        self._state.clock.at(later / 1000, lambda: self._state.publish("message", {**data, "state": judgement.state}))


def _draft(bot: Bot, to_user_id: str, send: _Send, body: bytes, knobs: Readings) -> SendDraft:
    rate = knobs.rate("quota.rate")
    return SendDraft(
        bot=bot.number,
        user_id=to_user_id,
        client_id=given(send.message.client_id, ""),
        context_token=send.context_token,
        at_ms=send.at_ms,
        wire=body,
        is_idempotent=knobs.flag("send.client_id_idempotent"),
        recent=rate[0] if rate else 0,
        recent_refused=knobs.flag("quota.count_rejected"),
    )


def _reply(judgement: Judgement, n: int | None, knobs: Readings, *, is_repeat: bool) -> Reply:
    if judgement.state == "refused":
        return refuse(knobs, judgement.ret, judgement.errmsg, findings=judgement.findings, why=judgement.why)
    answer = SendMessageAnswer(ret=0)
    form = knobs.choice("ids.send_as")
    if judgement.is_confirmed and n is not None and form != "omit":
        answer.message_id = MESSAGE_ID_BASE + n if form == "number" else str(MESSAGE_ID_BASE + n)
    findings = (*judgement.findings, "client_id_repeated") if is_repeat else judgement.findings
    return Reply(body=answer, findings=findings)


def judge(facts: ChatFacts, send: _Send, knobs: Readings) -> Judgement:
    """Say what becomes of a send; the first rule that objects decides."""
    refusal = (
        _refuse_shape(facts, send, knobs) or _refuse_window(facts, send, knobs) or _refuse_token(facts, send, knobs)
    )
    if refusal is not None:
        return replace(refusal, counts=knobs.flag("quota.count_rejected"), findings=_findings(facts, send))
    return _accept(facts, send, knobs)


def _refused(ret: int, errmsg: str, why: str, *, is_stored: bool = True) -> Judgement:
    return Judgement(state="refused", ret=ret, errmsg=errmsg, why=why, is_stored=is_stored)


def _refuse_shape(facts: ChatFacts, send: _Send, knobs: Readings) -> Judgement | None:
    """Refuse what is wrong in itself."""
    if not facts.is_person:
        return _refused(INVALID_ARGUMENTS, "invalid arguments", "there is no such person", is_stored=False)
    if given(send.message.message_state, MessageState.FINISH) == MessageState.GENERATING and not send.items:
        return _refused(PARAMETER_ERROR, "item_list required", "an unfinished message without items")
    kinds = {given(item.type, 0) for item in send.items}
    limit = knobs.choice("limits.items")
    if limit == "one" and len(send.items) > 1:
        return _refused(INVALID_ARGUMENTS, "invalid arguments", "more than one item (limits.items)")
    if limit != "any" and {ItemType.TEXT, ItemType.VOICE} <= kinds:
        return _refused(INVALID_ARGUMENTS, "invalid arguments", "text and voice in one message (limits.items)")
    most = knobs.whole("limits.text_bytes")
    if any(len(text.encode("utf-8", "replace")) > most for text in _texts(send.items)):
        return _refused(PARAMETER_ERROR, "text too long", f"a text of more than {most} bytes (limits.text_bytes)")
    return None


def _refuse_window(facts: ChatFacts, send: _Send, knobs: Readings) -> Judgement | None:
    """Refuse what the reply window, the allowance or the rate does not let through."""
    closed = window_words(knobs, _PREPARE_FAILED)
    if facts.last_inbound_ms is None:
        return _refused(PARAMETER_ERROR, closed, "the person has never written to this bot")
    if send.at_ms - facts.last_inbound_ms > knobs.whole("quota.window_s") * 1000:
        return _refused(PARAMETER_ERROR, closed, "the reply window is closed (quota.window_s)")
    if facts.sends >= knobs.whole("quota.per_inbound"):
        return _refused(PARAMETER_ERROR, closed, "the allowance is used up (quota.per_inbound)")
    rate = knobs.rate("quota.rate")
    if rate and len(facts.recent) >= rate[0] and send.at_ms - facts.recent[rate[0] - 1] < rate[1] * 1000:
        return _refused(PARAMETER_ERROR, window_words(knobs, _RATE_LIMITED), "too many sends at a time (quota.rate)")
    return None


def _refuse_token(facts: ChatFacts, send: _Send, knobs: Readings) -> Judgement | None:
    """Refuse a context token that is missing or will not do, where the knobs look at it."""
    closed = window_words(knobs, _PREPARE_FAILED)
    if not send.context_token:
        if knobs.choice("context.missing") == "-2":
            return _refused(PARAMETER_ERROR, "context_token required", "no context token (context.missing)")
        return None
    mode = knobs.choice("context.mode")
    if mode == "lenient":
        return None
    if facts.token is None:
        return _refused(PARAMETER_ERROR, closed, "the context token was never given for this chat (context.mode)")
    ttl = knobs.number("context.ttl_s")
    if ttl is not None and send.at_ms - facts.token.issued_ms > ttl * 1000:
        return _refused(PARAMETER_ERROR, closed, "the context token is too old (context.ttl_s)")
    if mode == "strict_latest" and not facts.token.is_latest:
        return _refused(PARAMETER_ERROR, closed, "the context token is not the newest (context.mode)")
    if mode == "one_time" and facts.token.is_used:
        return _refused(PARAMETER_ERROR, closed, "the context token was used before (context.mode)")
    return None


def _accept(facts: ChatFacts, send: _Send, knobs: Readings) -> Judgement:
    is_dropped = send.is_dropped or knobs.flag("deliver.drop_silently")
    because = "a fault" if send.is_dropped else "deliver.drop_silently"
    why = f"accepted and dropped ({because})" if is_dropped else _why_hidden(send, knobs)
    delay_ms = int(knobs.seconds("deliver.delay_s") * 1000)
    cut = knobs.number("limits.text_truncate")
    is_cut = cut is not None and any(len(text) > cut for text in _texts(send.items))
    cut_remark = f"only the first {cut} characters are shown (limits.text_truncate)" if is_cut else None
    kinds = {given(item.type, 0) for item in send.items}
    is_tool = bool(kinds) and kinds <= _TOOL_ITEMS
    return Judgement(
        state="shown" if why is None else "not_shown",
        why=why or cut_remark,
        counts=not is_tool or knobs.flag("quota.count_tool_items"),
        is_confirmed=not is_dropped,
        uses_token=knobs.choice("context.mode") == "one_time" and facts.token is not None,
        shown_ms=send.at_ms + delay_ms if delay_ms and why is None else None,
        cut=int(cut) if is_cut and cut is not None else None,
        findings=_findings(facts, send),
    )


def _why_hidden(send: _Send, knobs: Readings) -> str | None:
    """Say why a phone does not show an accepted message, or None when it does."""
    message = send.message
    if knobs.choice("notify.required") == "drop" and not send.is_notified:
        return "notifystart did not come (notify.required)"
    if not send.context_token and knobs.choice("context.missing") == "drop":
        return "no context token (context.missing)"
    for field, value in (
        ("client_id", given(message.client_id, "")),
        ("message_type", given(message.message_type, 0)),
        ("message_state", given(message.message_state, 0)),
    ):
        if not value:
            return f"no {field}: accepted and never shown (peer: dsh-bridge)"
    if message.message_type != MessageType.BOT:
        return f"message_type {message.message_type} is not a bot's"
    if not any(_is_visible(item, knobs) for item in send.items):
        return "nothing in it that a phone shows"
    return None


def _is_visible(item: MessageItem, knobs: Readings) -> bool:
    kind = given(item.type, 0)
    if kind == ItemType.TEXT:
        return bool(item.text_item and given(item.text_item.text, ""))
    if kind == ItemType.VOICE:
        return knobs.flag("render.voice")
    if kind in _TOOL_ITEMS:
        return knobs.flag("render.tool_items")
    return kind in (ItemType.IMAGE, ItemType.FILE, ItemType.VIDEO)


def _findings(facts: ChatFacts, send: _Send) -> tuple[str, ...]:
    message = send.message
    is_whole = given(message.client_id, "") and given(message.message_type, 0) and given(message.message_state, 0)
    found = (
        ("message_incomplete", not is_whole),
        ("several_items", len(send.items) > 1),
        ("sends_over_ten", facts.sends >= _TEN),
        ("context_token_missing", not send.context_token and facts.last_inbound_ms is not None),
        ("context_token_unknown", send.context_token and facts.token is None),
        ("context_token_old", facts.token is not None and not facts.token.is_latest and send.has_read_all),
    )
    return tuple(code for code, is_so in found if is_so)


def _texts(items: list[MessageItem]) -> list[str]:
    return [given(item.text_item.text, "") for item in items if item.text_item]
