"""Calls about bots, what is said to them and what they say."""

from __future__ import annotations

from typing import Final

from msgspec import UNSET, UnsetType

from ilink.gateway.control import requests
from ilink.gateway.control.answers import BotList, ChatList, Transcript
from ilink.gateway.control.calls import CallTable
from ilink.gateway.control.forms import SentFile
from ilink.gateway.control.refusals import Refusal
from ilink.gateway.control.requests import ChatFilter, LongWait, NewMessage, Page, ReadMark
from ilink.gateway.control.state import ControlState
from ilink.gateway.views import CodeView, MailboxView, Posted, Quote, TypingView
from ilink.wire.ids import AccountId, UserId

__all__ = ["calls", "post"]

calls = CallTable()

_ALL: Final = 1_000_000
"""Without a limit a transcript is whole, as the contract has it."""


@calls.call("GET", "/_sim/bots")
async def list_bots(control: ControlState) -> BotList:
    """List bots, oldest first."""
    return BotList(bots=await control.gateway.bots())


@calls.call("GET", "/_sim/bots/{bot_id}/mailbox", refusals=(404,))
async def show_mailbox(control: ControlState, bot_id: str) -> MailboxView:
    """Look into a bot's mailbox without consuming anything."""
    return await control.gateway.mailbox(AccountId(bot_id))


@calls.call("POST", "/_sim/bots/{bot_id}/expire", status=204, refusals=(404,))
async def expire_bot(control: ControlState, bot_id: str) -> None:
    """Make a bot's token stale: it answers -14 from now on."""
    await control.gateway.expire_bot(AccountId(bot_id))


@calls.call("POST", "/_sim/bots/{bot_id}/rebind", status=204, refusals=(404, 409))
async def rebind_bot(control: ControlState, bot_id: str) -> None:
    """Let the bot's owner sign in somewhere else: it is `replaced`, and its token dies after `bind.revoke_delay_s`."""
    await control.gateway.rebind_bot(AccountId(bot_id))


@calls.call("POST", "/_sim/bots/{bot_id}/rotate", status=204, refusals=(404,))
async def rotate_bot(control: ControlState, bot_id: str) -> None:
    """Begin a new generation of a bot's stream: cursors from before stop counting."""
    await control.gateway.rotate_bot(AccountId(bot_id))


@calls.call("POST", "/_sim/people/{user_id}/messages", status=201, refusals=(404, 409), takes_form=True)
async def say(
    control: ControlState, user_id: str, body: NewMessage | None = None, form: SentFile | None = None
) -> Posted:
    """Let a person write to a bot: a text, items as they travel, or a file; with an optional quote."""
    if form is not None:
        return await _post_file(control, user_id, form)
    assert body is not None
    return await post(control, user_id, body)


async def post(control: ControlState, user_id: str, body: NewMessage) -> Posted:
    """Let a person write what a request says.

    Raises:
        Refusal: It says nothing, or two things.
    """
    if (body.text is UNSET) == (body.items is UNSET):
        raise Refusal(422, "a message has either `text` or `items`", hint="give one of the two")
    return await control.gateway.post_message(
        UserId(user_id),
        AccountId(body.bot_id),
        text=None if body.text is UNSET else body.text,
        items=None if body.items is UNSET else body.items,
        quote=_quote(body.quote),
    )


@calls.call("GET", "/_sim/chats/{bot_id}/{user_id}/transcript", refusals=(404,))
async def show_transcript(control: ControlState, bot_id: str, user_id: str, query: Page) -> Transcript:
    """Return what was said in a chat, oldest first, refused sends included.

    All of it, unless the query says less: `limit` alone gives the newest entries, with `before` the newest before that
    number, with `after` the first ones after that number.
    """
    is_newest = query.after is UNSET and query.limit is not UNSET
    entries = await control.gateway.transcript(
        AccountId(bot_id),
        UserId(user_id),
        after=None if is_newest else 0 if query.after is UNSET else query.after,
        before=None if query.before is UNSET else query.before,
        limit=_ALL if query.limit is UNSET else query.limit,
    )
    return Transcript(messages=entries)


@calls.call("GET", "/_sim/chats")
async def list_chats(control: ControlState, query: ChatFilter) -> ChatList:
    """List the chats in which somebody has written, newest first, with what is unread and what was said last."""
    user_id = None if query.user_id is UNSET else UserId(query.user_id)
    return ChatList(chats=await control.gateway.chats(user_id=user_id, limit=query.limit))


@calls.call("POST", "/_sim/chats/{bot_id}/{user_id}/read", status=204, refusals=(404,))
async def mark_read(control: ControlState, bot_id: str, user_id: str, body: ReadMark) -> None:
    """Note that the person has seen the chat up to an entry; it never goes back, and every screen hears of it."""
    await control.gateway.mark_read(AccountId(bot_id), UserId(user_id), body.n)


@calls.call("GET", "/_sim/chats/{bot_id}/{user_id}/typing", refusals=(404,))
async def show_typing(control: ControlState, bot_id: str, user_id: str) -> TypingView:
    """Tell whether the person sees the bot typing."""
    bot = await control.gateway.bot(AccountId(bot_id))
    return control.gateway.typing(AccountId(bot.bot_id), UserId(user_id))


@calls.call("GET", "/_sim/wait", refusals=(404,), waits=True)
async def wait(control: ControlState, query: LongWait) -> Transcript | CodeView:
    """Wait until a chat has `count` entries after a number, or with `qr=1` until a code can be scanned.

    At the timeout a chat's entries are what there is; without a code the answer is 404.
    """
    if query.qr:
        return await _wait_for_code(control, query.timeout)
    if query.bot_id is UNSET:
        raise Refusal(422, "the query lacks `bot_id`", hint="name a bot and a person, or say qr=1")
    entries = await control.gateway.wait_entries(
        AccountId(query.bot_id),
        None if query.user_id is UNSET else UserId(query.user_id),
        after=query.after,
        count=query.count,
        direction=None if query.direction is UNSET else query.direction,
        timeout=query.timeout,
    )
    return Transcript(messages=entries)


async def _wait_for_code(control: ControlState, timeout: float) -> CodeView:
    code = await control.gateway.wait_code(timeout=timeout)
    if code is None:
        message = f"no login code that could be scanned came within {timeout:g} s"
        raise Refusal(404, message, hint="start a login against the gateway's api_url")
    return code


async def _post_file(control: ControlState, user_id: str, form: SentFile) -> Posted:
    fields = form.fields
    return await control.gateway.post_media(
        UserId(user_id),
        AccountId(fields.bot_id),
        fields.kind,
        form.chunks(),
        name=form.name,
        text=None if fields.text is UNSET else fields.text,
        quote=_quote(fields.quote),
    )


def _quote(quote: requests.Quote | UnsetType) -> Quote | None:
    if quote is UNSET:
        return None
    return Quote(message_id=quote.message_id, partial=None if quote.partial is UNSET else quote.partial)
