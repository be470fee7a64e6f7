"""Pictures: each one comes back in black and white, with its size."""

import asyncio
from io import BytesIO

from PIL import Image, ImageOps, UnidentifiedImageError

from ilink import Bot, ImageMessage, TextMessage

bot = Bot()


@bot.on_image()
async def grey(message: ImageMessage) -> None:
    async with message.typing():
        picture = await message.image.read(max_bytes=20_000_000)
        try:
            # Pillow is busy for a while, and the bot shall answer others meanwhile.
            result, size = await asyncio.to_thread(without_colours, picture)
        except UnidentifiedImageError:
            await message.reply("I cannot read this picture.")
            return
    await message.reply_media(result, caption=f"It was {size[0]} × {size[1]}.", name="grey.png")


@bot.on_text()
async def hint(message: TextMessage) -> None:
    await message.reply("Send me a picture.")


def without_colours(picture: bytes) -> tuple[bytes, tuple[int, int]]:
    with Image.open(BytesIO(picture)) as image, BytesIO() as file:
        ImageOps.grayscale(image).save(file, "PNG")
        return file.getvalue(), image.size


bot.run()
