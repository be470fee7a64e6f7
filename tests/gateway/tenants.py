"""Bots of different owners on one gateway, with everything one of them has that is secret."""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from ilink.testing import LocalGateway, Person
from ilink.wire.cipher import ciphertext_size, encrypt
from ilink.wire.keys import KeyForm, MediaKey

PLAIN = b"a picture that is nobody else's business" * 20


@dataclass
class Tenant:
    """One bot, its owner, and its secrets by what they are."""

    gateway: LocalGateway
    http: aiohttp.ClientSession
    owner: Person
    bot_id: str
    token: str
    qrcode: str
    key: MediaKey
    secrets: dict[str, str] = field(default_factory=dict)

    async def call(self, endpoint: str, body: object, *, token: str | None = None) -> dict[str, Any]:
        headers = {
            "Authorization": f"Bearer {self.token if token is None else token}",
            "AuthorizationType": "ilink_bot_token",
        }
        url = f"{self.gateway.api_url}/ilink/bot/{endpoint}"
        async with self.http.post(url, json=body, headers=headers) as answer:
            assert answer.status == 200
            return await answer.json(content_type=None)

    async def poll(self, cursor: str = "") -> dict[str, Any]:
        return await self.call("getupdates", {"get_updates_buf": cursor})

    async def permission(self, filekey: str) -> dict[str, Any]:
        body = {
            "filekey": filekey,
            "media_type": 1,
            "to_user_id": self.owner.user_id,
            "rawsize": len(PLAIN),
            "rawfilemd5": hashlib.md5(PLAIN).hexdigest(),
            "filesize": ciphertext_size(len(PLAIN)),
            "no_need_thumb": True,
            "aeskey": self.key.spell(KeyForm.HEX),
        }
        return await self.call("getuploadurl", body)

    async def upload(self, param: str, filekey: str) -> tuple[int, str]:
        query = {"encrypted_query_param": param, "filekey": filekey}
        async with self.http.post(
            f"{self.gateway.cdn_url}/upload", params=query, data=encrypt(self.key, PLAIN)
        ) as answer:
            return answer.status, answer.headers.get("x-encrypted-param", "")

    async def download(self, param: str) -> int:
        async with self.http.get(f"{self.gateway.cdn_url}/download", params={"encrypted_query_param": param}) as answer:
            await answer.read()
            return answer.status

    async def send(self, item: dict[str, Any], to: str | None = None, context_token: str = "") -> dict[str, Any]:
        message = {
            "from_user_id": "",
            "to_user_id": to or self.owner.user_id,
            "client_id": os.urandom(8).hex(),
            "message_type": 2,
            "message_state": 2,
            "context_token": context_token,
            "item_list": [item],
        }
        return await self.call("sendmessage", {"msg": message})

    async def live(self) -> None:
        """Do everything once, and note every secret that came of it."""
        await self.owner.says("for this bot alone", bot_id=self.bot_id)
        batch = await self.poll()
        context_token = batch["msgs"][0]["context_token"]
        filekey = os.urandom(16).hex()
        permission = await self.permission(filekey)
        unused = await self.permission(os.urandom(16).hex())
        _, reference = await self.upload(permission["upload_param"], filekey)
        config = await self.call("getconfig", {"ilink_user_id": self.owner.user_id})
        assert (await self.send(picture(reference, self.key), context_token=context_token))["ret"] == 0
        self.secrets = {
            "token": self.token,
            "cursor": batch["get_updates_buf"],
            "context token": context_token,
            "typing ticket": config["typing_ticket"],
            "upload permission": unused["upload_param"],
            "used upload permission": permission["upload_param"],
            "media reference": reference,
            "media key": self.key.spell(KeyForm.HEX),
        }


def picture(reference: str, key: MediaKey) -> dict[str, Any]:
    media = {"encrypt_query_param": reference, "aes_key": key.spell(KeyForm.BASE64_HEX), "encrypt_type": 1}
    return {"type": 2, "image_item": {"media": media, "mid_size": ciphertext_size(len(PLAIN))}}


async def move_in(gateway: LocalGateway, http: aiohttp.ClientSession, name: str) -> Tenant:
    owner = await gateway.person(name)
    async with http.get(f"{gateway.api_url}/ilink/bot/get_bot_qrcode?bot_type=3") as answer:
        qrcode = (await answer.json(content_type=None))["qrcode"]
    bot_id = await owner.befriend(qrcode)
    async with http.get(f"{gateway.api_url}/ilink/bot/get_qrcode_status", params={"qrcode": qrcode}) as answer:
        token = (await answer.json(content_type=None))["bot_token"]
    tenant = Tenant(gateway, http, owner, bot_id, token, qrcode, MediaKey(os.urandom(16)))
    await tenant.live()
    return tenant


async def two(gateway: LocalGateway) -> AsyncIterator[tuple[Tenant, Tenant]]:
    async with aiohttp.ClientSession() as http:
        yield await move_in(gateway, http, "alice"), await move_in(gateway, http, "mallory")
