"""Filters narrow what a handler receives: read by mypy and basedpyright, never run."""

from __future__ import annotations

from typing import TypeGuard, assert_type

from ilink import (
    Bot,
    FileMessage,
    Filter,
    ImageMessage,
    KindFilter,
    Message,
    Quote,
    Router,
    TextMessage,
    VideoMessage,
    VoiceMessage,
    filters,
)

bot = Bot()
router = Router(filters.from_user("boss@im.wechat"))


def is_picture(message: Message) -> TypeGuard[ImageMessage]:
    return isinstance(message, ImageMessage)


async def is_known(message: Message) -> bool:
    return bool(message.user)


# What combinations are.
assert_type(filters.image, KindFilter[ImageMessage])
assert_type(filters.image | filters.video, KindFilter[ImageMessage | VideoMessage])
assert_type(filters.image & filters.captioned, KindFilter[ImageMessage])
assert_type(filters.captioned & filters.image, KindFilter[ImageMessage])
assert_type(filters.contains("x") & filters.quoting, Filter)
assert_type(filters.image | filters.contains("x"), Filter)
assert_type(~filters.image, Filter)
assert_type(filters.where(is_picture), KindFilter[ImageMessage])
assert_type(filters.where(is_known), Filter)
assert_type((filters.image | filters.video) & ~filters.from_user("x"), KindFilter[ImageMessage | VideoMessage])


# What handlers get: each of these takes exactly that, or something wider.
@bot.on_text(filters.contains("price"), is_known)
async def text(message: TextMessage) -> None:
    assert_type(message.text, str)


@bot.on_image(lambda message: message.image.thumbnail_width is not None)
async def image(message: ImageMessage) -> None: ...


@bot.on_voice()
async def voice(message: VoiceMessage) -> None: ...


@bot.on_file(lambda message: message.file.size is None)
async def file(message: FileMessage) -> None: ...


@bot.on_any(filters.image | filters.video)
async def either(message: ImageMessage | VideoMessage) -> None: ...


@bot.on_any(filters.where(is_picture), filters.captioned)
async def guarded(message: ImageMessage) -> None: ...


@bot.on_any(filters.captioned & filters.image)
async def combined(message: ImageMessage) -> None: ...


@bot.on_any(filters.contains("x"))
async def anything(message: Message) -> None: ...


@router.on(FileMessage)
async def by_class(message: FileMessage) -> None: ...


@bot.on_text()
async def wider(message: Message) -> None: ...


@bot.on_quote()
async def quoting(message: Message, quote: Quote) -> None: ...


@bot.on_command("order", "订购", filters.from_user("boss@im.wechat"))
async def order(message: TextMessage, count: int, colour: str = "red", *, what: str = "tea") -> None: ...


@bot.on_command("say")
async def say(message: TextMessage, *words: str) -> None: ...


@bot.on_error(ValueError, KeyError)
async def sorry(error: ValueError | KeyError, message: Message) -> None: ...


@bot.on_error()
async def failed(error: Exception, message: Message) -> None: ...


async def handlers_stay_what_they_are(message: TextMessage, picture: ImageMessage) -> None:
    await order(message, 2, "blue", what="cups")
    await say(message, "a", "b")
    await image(picture)
