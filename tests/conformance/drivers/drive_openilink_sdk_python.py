"""openilink-sdk-python: its monitor, its push and its upload permission. It keeps no accounts.

It has neither a cipher nor a CDN client, so what encrypts and moves the bytes of a file is here, by OpenSSL.
"""

import base64
import hashlib
import os
import subprocess
import urllib.parse
import urllib.request

from openilink import Client, LoginCallbacks, MessageItemType, extract_text
from openilink.auth import login_with_qr
from openilink.monitor import monitor
from scenario import BASE_URL, CDN_URL, DOCUMENT, PICTURE, keep, report

client = Client("", base_url=BASE_URL, cdn_base_url=CDN_URL)
account = login_with_qr(client, LoginCallbacks(on_qrcode=lambda url: report("QRCODE", url)))
report("SIGNED_IN", account.bot_id)


def answer(message):
    text, person = extract_text(message), message.from_user_id
    for item in message.item_list:
        if item.type == MessageItemType.IMAGE:
            keep(fetch(item.image_item))
            return
    if text == "!picture":
        reference, size = store(person, PICTURE, 1)
        send(message, {"type": 2, "image_item": {"media": reference, "mid_size": size}})
    elif text == "!document":
        reference, _ = store(person, DOCUMENT, 3)
        file = {"media": reference, "file_name": DOCUMENT.name, "len": str(DOCUMENT.stat().st_size)}
        send(message, {"type": 4, "file_item": file})
    elif text == "!typing":
        client.send_typing(person, client.get_config(person, message.context_token).typing_ticket)
    else:
        client.push(person, f"echo: {text}")


def send(message, item):
    body = {
        "to_user_id": message.from_user_id,
        "client_id": os.urandom(8).hex(),
        "message_type": 2,
        "message_state": 2,
        "context_token": message.context_token,
        "item_list": [item],
    }
    client.send_message({"msg": body})


def store(person, path, media_type):
    """Upload a file; return the reference to it and its size on the CDN."""
    data, key, filekey = path.read_bytes(), os.urandom(16), os.urandom(16).hex()
    secret = cipher(data, key)
    request = {
        "filekey": filekey,
        "media_type": media_type,
        "to_user_id": person,
        "rawsize": len(data),
        "rawfilemd5": hashlib.md5(data, usedforsecurity=False).hexdigest(),
        "filesize": len(secret),
        "no_need_thumb": True,
        "aeskey": key.hex(),
    }
    permission = urllib.parse.quote(client.get_upload_url(request).upload_param, safe="")
    address = f"{CDN_URL}/upload?encrypted_query_param={permission}&filekey={filekey}"
    upload = urllib.request.Request(address, data=secret, headers={"Content-Type": "application/octet-stream"})
    with urllib.request.urlopen(upload) as answered:
        param = answered.headers["x-encrypted-param"]
    spelled = base64.b64encode(key.hex().encode()).decode()
    return {"encrypt_query_param": param, "aes_key": spelled, "encrypt_type": 1}, len(secret)


def fetch(image):
    param = urllib.parse.quote(image.media.encrypt_query_param, safe="")
    key = bytes.fromhex(image.aeskey or base64.b64decode(image.media.aes_key).decode())
    with urllib.request.urlopen(f"{CDN_URL}/download?encrypted_query_param={param}") as answered:
        return cipher(answered.read(), key, "-d")


def cipher(data, key, *options):
    command = ["openssl", "enc", "-aes-128-ecb", "-K", key.hex(), *options]
    return subprocess.run(command, input=data, capture_output=True, check=True).stdout


monitor(client, answer)
