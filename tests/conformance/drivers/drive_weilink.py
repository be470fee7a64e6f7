"""weilink: its client class. The hosts are constants, one of them bound as a default argument."""

from scenario import BASE_URL, CDN_URL, DOCUMENT, IS_LED, PICTURE, STATE, keep, report
from weilink import WeiLink, _cdn, _protocol
from weilink.models import MessageType

if not IS_LED:
    _protocol.BASE_URL = BASE_URL
    _protocol.get_qr_code.__defaults__ = (BASE_URL,)
    _protocol.poll_qr_status.__defaults__ = (BASE_URL,)
    _cdn.CDN_BASE = CDN_URL
WeiLink._display_qr = staticmethod(lambda url: report("QRCODE", url))

link = WeiLink(base_path=STATE)
account = link.login()
report("")
report("SIGNED_IN", account.bot_id)
while True:
    for message in link.recv(timeout=10):
        person = message.from_user
        if message.msg_type == MessageType.IMAGE:
            keep(link.download(message))
        elif message.text == "!picture":
            link.send(person, image=PICTURE.read_bytes())
        elif message.text == "!document":
            link.send(person, file=DOCUMENT.read_bytes(), file_name=DOCUMENT.name)
        elif message.text == "!typing":
            link.send_typing(person)
        else:
            link.send(person, f"echo: {message.text}")
