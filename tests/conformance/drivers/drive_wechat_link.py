"""wechat-link: one method an endpoint; the loop and the cursor are the caller's."""

from scenario import BASE_URL, CDN_URL, DOCUMENT, PICTURE, keep, report
from wechat_link.client import Client

visitor = Client(base_url=BASE_URL, cdn_base_url=CDN_URL)
code = visitor.get_bot_qrcode()
report("QRCODE", code.qrcode)
while (login := visitor.get_qrcode_status(code.qrcode)).status != "confirmed":
    pass
visitor.close()
client = Client(base_url=login.baseurl, bot_token=login.bot_token, cdn_base_url=CDN_URL)
report("SIGNED_IN", login.ilink_bot_id)


def answer(person, context_token, item):
    address = {"to_user_id": person, "context_token": context_token}
    if item.kind == "image":
        keep(client.download_message_item(item))
    elif item.text == "!picture":
        client.send_image(uploaded=client.upload_image(file_path=PICTURE, to_user_id=person), **address)
    elif item.text == "!document":
        uploaded = client.upload_file(file_path=DOCUMENT, to_user_id=person)
        client.send_file(file_name=DOCUMENT.name, uploaded=uploaded, **address)
    elif item.text == "!typing":
        ticket = client.get_config(ilink_user_id=person, context_token=context_token).typing_ticket
        client.send_typing(ilink_user_id=person, typing_ticket=ticket)
    else:
        client.send_text(text=f"echo: {item.text}", **address)


cursor = ""
while True:
    updates = client.get_updates(cursor=cursor)
    cursor = updates.next_cursor or cursor
    for message in updates.messages:
        for item in message.items() if callable(message.items) else message.items:
            answer(message.from_user_id, message.context_token, item)
