"""What a bot is made with, all in one value, so that a bot can be moved elsewhere as a whole."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

from ilink.bot.access import Pairing
from ilink.bot.clock import Clock
from ilink.bot.conversation import ConversationPolicy
from ilink.bot.runner import BotClient
from ilink.bot.settings import Access, Policies
from ilink.bot.store import Store, StorePlace, open_store
from ilink.bot.wanted import Wanted, read_wanted
from ilink.bot.words import Language
from ilink.client.client import Client
from ilink.errors import ConfigError
from ilink.storage.accounts import StoredAccount

__all__ = ["ACCOUNT_VARIABLE", "BASE_URL_VARIABLE", "Blueprint", "OpenClient"]

BASE_URL_VARIABLE = "ILINK_BASE_URL"
ACCOUNT_VARIABLE = "ILINK_ACCOUNT"

OpenClient = Callable[[StoredAccount], AbstractAsyncContextManager[BotClient]]
"""Opens the way to the server for an account."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Blueprint:
    """What a bot is made with; see the arguments of `Bot`.

    Attributes:
        place: Where accounts and journals are kept.
        base_url: Where the API is; None for where each account was signed in.
        wanted: Which accounts it works for, at any server.
        access: Who is listened to.
        pairing: How strangers are let in; None if they are not.
        policies: What happens when something does not work.
        conversations: How questions are asked.
        language: What it speaks by itself; None for that of the person.
        has_help: Whether commands get a `/help`.
        name: What it calls itself towards the server.
        way: Opens the way to the server; None for the client over HTTP.
        clock: Source of time.
        random: Source of jitter and ids.
    """

    place: StorePlace
    base_url: str | None
    wanted: Wanted
    access: Access
    pairing: Pairing | None
    policies: Policies
    conversations: ConversationPolicy
    language: Language | None
    has_help: bool
    name: str
    way: OpenClient | None
    clock: Clock
    random: Random

    @property
    def ours(self) -> Wanted:
        """Which accounts it works for."""
        return self.wanted.at(self.base_url)

    def open_client(self, stored: StoredAccount) -> AbstractAsyncContextManager[BotClient]:
        """Open the way to the server for an account."""
        if self.way is not None:
            return self.way(stored)
        return Client(stored.account, base_url=self.base_url, bot_agent=self.name, random=self.random, clock=self.clock)

    def moved(self, *, base_url: str, folder: Path, account: str | None, clock: Clock | None) -> Blueprint:
        """Return the same for another place: its one account or the newest login there, or all if it works for many."""
        wanted = read_wanted(account, "all" if self.wanted.is_many and not account else None, variable=None)
        place = StorePlace(folder=folder)
        return replace(self, base_url=base_url, place=place, wanted=wanted, clock=clock or self.clock)

    def open_store(self) -> AbstractAsyncContextManager[Store]:
        """Open what lasts.

        Raises:
            StoreError: It cannot be opened.
        """
        return open_store(self.place, spool_bytes=self.policies.spool_bytes)

    def no_account(self) -> ConfigError:
        """Return the error that there is nobody to work for."""
        return ConfigError(f"there is no login of {self.ours} on this machine; run `ilink login` first")
