"""One signed-in bot identity, as a confirmed login hands it out."""

from __future__ import annotations

from dataclasses import dataclass

from ilink.wire.ids import AccountId, Secret, UserId

__all__ = ["Account"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What is needed to speak as one bot.

    Attributes:
        account_id: The bot's id, exactly as it came.
        token: The bearer secret; opaque, without known expiry (protocol §3.2).
        base_url: Where this account is served; international accounts are served elsewhere (observed:
            hermes-agent#89983).
        owner_id: Who scanned the code; None when the server did not say.
    """

    account_id: AccountId
    token: Secret
    base_url: str
    owner_id: UserId | None = None
