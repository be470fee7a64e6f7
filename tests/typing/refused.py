"""What both checkers have to refuse: each line that ends in `# refused` is an error in mypy and in basedpyright."""

from __future__ import annotations

from ilink import Bot, FileMessage, ImageMessage, Message, TextMessage, VideoMessage, filters

bot = Bot()


@bot.on_text()  # refused
async def a_text_is_no_picture(message: ImageMessage) -> None: ...


@bot.on_any(filters.image | filters.video)  # refused
async def it_may_be_a_video(message: ImageMessage) -> None: ...


@bot.on_any(filters.image | filters.contains("x"))  # refused
async def it_may_be_anything(message: ImageMessage) -> None: ...


@bot.on_any(~filters.image)  # refused
async def a_negation_narrows_nothing(message: TextMessage) -> None: ...


@bot.on_any(filters.captioned)  # refused
async def a_caption_says_no_kind(message: ImageMessage) -> None: ...


@bot.on(FileMessage)  # refused
async def a_file_is_no_video(message: VideoMessage) -> None: ...


@bot.on_command("x")  # refused
async def a_command_is_a_text(message: FileMessage) -> None: ...


@bot.on_text()  # refused
def a_handler_waits(message: TextMessage) -> None: ...


@bot.on_text()  # refused
async def a_handler_takes_the_message() -> None: ...


@bot.on_error(ValueError)  # refused
async def it_is_another_error(error: KeyError, message: Message) -> None: ...


bot.on_file(lambda message: message.image.name == "x")  # refused
bot.on_text("hello")  # refused
filters.contains(3)  # refused
filters.image & "x"  # refused
