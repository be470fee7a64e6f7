"""What happened on a gateway, in words: for assertions and for the reports of failed tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ilink.testing.person import text_of
from ilink.wire.ids import AccountId, UserId

if TYPE_CHECKING:
    from ilink.gateway.service import Gateway
    from ilink.gateway.views import Entry, WireEntry

__all__ = ["describe_chats", "describe_wire", "find_findings"]

_SHOWN: Final = 100
"""Of a chat's entries and of exchanges, the newest."""


async def describe_chats(gateway: Gateway) -> str:
    """Return every chat, line by line; empty when nobody said anything."""
    lines: list[str] = []
    for bot in await gateway.bots():
        for person in await gateway.people():
            entries = await gateway.transcript(AccountId(bot.bot_id), UserId(person.user_id))
            if entries:
                lines.append(f"{person.name} and {bot.bot_id} ({bot.state}):")
                lines += [f"  {_line(entry, person.name)}" for entry in entries[-_SHOWN:]]
    return "\n".join(lines)


def describe_wire(gateway: Gateway) -> str:
    """Return the newest exchanges, a line each, secrets masked."""
    return "\n".join(_exchange(entry) for entry in gateway.wire_log(limit=10**6)[-_SHOWN:])


def find_findings(gateway: Gateway, ignore: frozenset[str]) -> list[str]:
    """Return a line for every finding in the wire log, in words."""
    from ilink.gateway.findings import FINDINGS

    return [
        f"#{entry.id} {entry.endpoint} of {entry.bot_id or 'nobody'}: {code}: {FINDINGS[code].words}"
        for entry in gateway.wire_log(limit=10**6)
        for code in entry.findings
        if code not in ignore
    ]


def _line(entry: Entry, name: str) -> str:
    who = name if entry.direction == "in" else "bot"
    why = f", {entry.why}" if entry.why else ""
    return f"{entry.n} {who}: {text_of(entry)!r} ({entry.state}{why})"


def _exchange(entry: WireEntry) -> str:
    outcome = f"HTTP {entry.status}" if entry.status else "no answer"
    remarks = [
        *([] if entry.ret is None else [f"ret {entry.ret}"]),
        *([entry.why] if entry.why else []),
        *(f"fault {note.id} {note.action}" for note in entry.faults),
        *(f"finding {code}" for code in entry.findings),
    ]
    head = f"#{entry.id} {entry.at:%H:%M:%S.%f} {entry.method} {entry.endpoint} {entry.held_ms} ms: {outcome}"
    body = f"\n    > {entry.request}\n    < {entry.response}"
    return ", ".join([head, *remarks]) + body
