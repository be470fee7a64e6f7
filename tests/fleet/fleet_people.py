"""People on a gateway, each with a bot of their own, and what they said and heard."""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from random import Random
from typing import Final

from ilink import Account, AccountId, Client, Secret, UserId
from ilink.bot.store import find_place, open_store
from ilink.storage.keys import KEY_VARIABLE, new_key
from ilink.testing.gateway import LocalGateway
from ilink.testing.person import Person

ENVIRON: Final = {**os.environ, KEY_VARIABLE: new_key()}
"""What workers find in their environment: the key that tokens are sealed with."""


class Crowd:
    """People who talk to bots of a fleet."""

    def __init__(self, gateway: LocalGateway, people: list[Person], random: Random) -> None:
        self.gateway = gateway
        self.people = people
        self.random = random
        self.said: dict[str, list[str]] = {person.name: [] for person in people}

    @classmethod
    async def make(cls, gateway: LocalGateway, url: str, count: int, random: Random) -> Crowd:
        """Make people who have each signed in a bot, and store the logins in a database."""
        people = [await gateway.person(f"p{number}") for number in range(count)]
        async with open_store(find_place(url, environ=ENVIRON)) as store:
            for person in people:
                await store.accounts.put(await signed_in(gateway, person))
        return cls(gateway, people, random)

    @property
    def said_count(self) -> int:
        """How much was said."""
        return sum(map(len, self.said.values()))

    async def say(self, person: Person) -> None:
        text = f"{person.name}-{len(self.said[person.name])}"
        self.said[person.name].append(text)
        await person.says(text)

    async def say_everywhere(self) -> None:
        for person in self.people:
            await self.say(person)

    async def talk(self, end: float, rate: float) -> None:
        """Let people write until a moment, at random, so many messages a second."""
        while time.monotonic() < end:
            await self.say(self.random.choice(self.people))
            await asyncio.sleep(self.random.expovariate(rate))

    async def answers(self, person: Person) -> list[str]:
        assert person.bot_id is not None
        after, found = 0, []
        while page := await self.gateway.rules.transcript(person.bot_id, person.user_id, after=after):
            after = page[-1].n
            found += [str(one.items[0].text) for one in page if one.direction == "out" and one.state == "shown"]
        return found

    async def wait_answered(self, seconds: float) -> bool:
        """Wait until everybody heard an answer to everything, and tell whether that came to pass."""
        deadline = time.monotonic() + seconds
        left = list(self.people)
        while left and time.monotonic() < deadline:
            left = [
                one for one in left if set(await self.answers(one)) < {f"re {text}" for text in self.said[one.name]}
            ]
            await asyncio.sleep(0.1)
        return not left

    async def complaints(self) -> list[str]:
        """Everything that was promised and not kept."""
        found: list[str] = []
        for person in self.people:
            expected = [f"re {text}" for text in self.said[person.name]]
            answers = await self.answers(person)
            found += [f"lost: {text}" for text in expected if text not in answers]
            found += [f"said {count} times: {text}" for text, count in Counter(answers).items() if count > 1]
            if [text for text in answers if text in expected] != [text for text in expected if text in answers]:
                wrong = next(n for n, text in enumerate(answers) if n >= len(expected) or expected[n] != text)
                found.append(f"out of order: {answers[max(0, wrong - 2) : wrong + 4]}")
        return found


async def signed_in(gateway: LocalGateway, person: Person) -> Account:
    """Sign in as the QR login does, the person scanning at once."""
    async with Client(base_url=gateway.api_url) as client:
        code = await client.get_qr_code()
        await person.befriend(code.qrcode)
        report = await client.get_login_status(code.qrcode)
    assert report.token is not None
    assert report.account_id is not None
    assert report.owner_id is not None
    return Account(
        account_id=AccountId(report.account_id),
        token=Secret(report.token),
        base_url=report.base_url or gateway.api_url,
        owner_id=UserId(report.owner_id),
    )
