"""weixin-ilink: its bot class over its credentials file."""

from scenario import BASE_URL, CDN_URL, DOCUMENT, PICTURE, STATE, keep, report
from weixin_ilink import WeixinBot

saved = STATE / "account.json"
if saved.exists():
    bot = WeixinBot(credentials_file=saved, cdn_base_url=CDN_URL)
else:
    bot = WeixinBot.from_login(
        save_to=saved,
        base_url=BASE_URL,
        cdn_base_url=CDN_URL,
        on_qrcode=lambda url: report("QRCODE", url),
        on_status_change=lambda status: None,
    )
report("SIGNED_IN", bot.account_id)


@bot.on_message
def answer(message):
    if message.is_image:
        keep(message.download())
    elif message.text == "!picture":
        message.reply_image(PICTURE)
    elif message.text == "!document":
        message.reply_file(DOCUMENT)
    elif message.text == "!typing":
        message.reply_typing()
    else:
        message.reply_text(f"echo: {message.text}")


bot.run()
