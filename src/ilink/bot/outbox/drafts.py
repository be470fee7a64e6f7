"""What is said, as the messages it is stored and sent in."""

from __future__ import annotations

from collections.abc import Callable

from ilink.bot.file_roots import check_source
from ilink.bot.outbox.files import OutgoingFiles
from ilink.bot.settings import Policies
from ilink.errors import ConfigError
from ilink.flows.split import split_text
from ilink.messages.media import MediaKind, UploadSource
from ilink.messages.outgoing import text_item
from ilink.storage.journal import Draft
from ilink.wire.codec import encode
from ilink.wire.ids import ClientId, UserId

__all__ = ["conversation_with", "drafts_of", "file_draft"]


def conversation_with(user: UserId) -> str:
    """Return the conversation of one user."""
    return f"u:{user}"


def drafts_of(
    text: str,
    *,
    conversation: str,
    user: UserId,
    policies: Policies,
    now_ms: int,
    name: Callable[[int], str],
    cause: int | None = None,
    is_progress: bool = False,
    run_id: str | None = None,
) -> list[Draft]:
    """Return a text as the messages it is sent in.

    Raises:
        ConfigError: The text is blank.
    """
    parts = split_text(text, limit=policies.text_bytes)
    if not parts:
        message = "there is nothing to send: the text is blank"
        raise ConfigError(message)
    return [
        Draft(
            client_id=ClientId(f"ilink-{name(number)}"),
            conversation=conversation,
            user=user,
            item=encode(text_item(part)),
            cause=cause,
            is_progress=is_progress,
            run_id=run_id,
            expires_ms=now_ms + int(policies.expire_seconds * 1000),
        )
        for number, part in enumerate(parts)
    ]


async def file_draft(
    source: UploadSource,
    kind: MediaKind | None,
    *,
    shown_name: str,
    conversation: str,
    user: UserId,
    files: OutgoingFiles,
    policies: Policies,
    now_ms: int,
    name: Callable[[int], str],
    cause: int | None = None,
    run_id: str | None = None,
) -> Draft:
    """Copy a file and return the message it is sent in.

    Raises:
        ForbiddenFileError: It is not in one of `Policies.file_roots`.
        TooLargeError, MediaError, ConfigError, StoreError: See `OutgoingFiles.keep`; nothing was stored.
    """
    client_id = ClientId(f"ilink-{name(0)}")
    source = check_source(source, policies.file_roots)
    return Draft(
        client_id=client_id,
        conversation=conversation,
        user=user,
        item=b"",
        file=await files.keep(source, kind, name=shown_name, client_id=client_id),
        cause=cause,
        run_id=run_id,
        expires_ms=now_ms + int(policies.expire_seconds * 1000),
    )
