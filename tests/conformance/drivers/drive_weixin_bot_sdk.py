"""weixin-bot-sdk: its bot class. It prints the code's URL on standard error and moves no media."""

import sys

from scenario import BASE_URL, STATE, report
from weixin_bot import WeixinBot

write = sys.stderr.write


def watch(text):
    if "http" in text and "qrcode" in text:
        report("QRCODE", text.strip())
    return write(text)


sys.stderr.write = watch
bot = WeixinBot(base_url=BASE_URL, token_path=str(STATE / "account.json"))
report("SIGNED_IN", bot.login().account_id)


@bot.on_message
async def answer(message):
    if message.text == "!typing":
        await bot.send_typing(message.user_id)
    else:
        await bot.reply(message, f"echo: {message.text}")


bot.run()
