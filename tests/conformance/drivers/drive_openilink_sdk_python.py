"""openilink-sdk-python: its monitor and its push. It neither keeps accounts nor moves media."""

from openilink import Client, LoginCallbacks, extract_text
from openilink.auth import login_with_qr
from openilink.monitor import monitor
from scenario import BASE_URL, CDN_URL, report

client = Client("", base_url=BASE_URL, cdn_base_url=CDN_URL)
account = login_with_qr(client, LoginCallbacks(on_qrcode=lambda url: report("QRCODE", url)))
report("SIGNED_IN", account.bot_id)


def answer(message):
    text, person = extract_text(message), message.from_user_id
    if text == "!typing":
        client.send_typing(person, client.get_config(person, message.context_token).typing_ticket)
    else:
        client.push(person, f"echo: {text}")


monitor(client, answer)
