"""Voice notes: each is kept as a WAV file, and what WeChat understood of it is said back."""

from datetime import UTC, datetime
from pathlib import Path

from ilink import Bot, DecryptionError, TextMessage, VoiceMessage

bot = Bot()

NOTES = Path("notes")


@bot.on_voice()
async def keep(message: VoiceMessage) -> None:
    try:
        sound = await message.voice.read_wav()
    except DecryptionError:
        await message.reply("This note came damaged. Please say it again.")
        return
    said_at = message.sent_at or datetime.now(UTC)
    # Named after the message: a handler that runs again writes the same file.
    keep_note(f"{said_at:%Y-%m-%d} {message.id}", sound, message.text)
    await message.reply(f"Kept: {message.text or 'no words'}")


@bot.on_command("notes", "笔记")
async def list_notes(message: TextMessage) -> None:
    """List your notes."""
    notes = [f"• {path.stem[:10]}: {path.read_text()}" for path in kept("txt")]
    await message.reply("\n".join(notes) or "There are none yet. Hold the button and speak.")


# WeChat shows no voice that a bot sends, so a note goes back as a file.
@bot.on_command("last", "最近")
async def last_note(message: TextMessage) -> None:
    """Get your last note as a file."""
    notes = kept("wav")
    if notes:
        await message.reply_media(notes[-1])
    else:
        await message.reply("There are none yet.")


def keep_note(name: str, sound: bytes, words: str) -> None:
    NOTES.mkdir(exist_ok=True)
    (NOTES / f"{name}.wav").write_bytes(sound)
    (NOTES / f"{name}.txt").write_text(words)


def kept(kind: str) -> list[Path]:
    return sorted(NOTES.glob(f"*.{kind}"))


bot.run()
