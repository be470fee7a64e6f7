"""The protocol's objects, field by field as they travel.

Every field is optional. `UNSET` means the field was absent, None that it was null; both are kept apart, because the
wire keeps them apart. Ids are taken as number or text and are lossless at any size. Reading an object goes through
`ilink.wire.codec`, which survives fields of a wrong type; fields that are not named here are dropped by the models
and kept in the raw bytes beside them.
"""

from __future__ import annotations

from typing import TypeVar

from msgspec import UNSET, Raw, Struct, UnsetType

from ilink.wire.ids import MessageId

__all__ = [
    "UNSET",
    "Answer",
    "BaseInfo",
    "CdnMedia",
    "ConfigAnswer",
    "ConfigRequest",
    "FileItem",
    "ImageItem",
    "LoginStatusAnswer",
    "MessageItem",
    "NotifyRequest",
    "PartialText",
    "QrCodeAnswer",
    "QrCodeRequest",
    "QuotedMessage",
    "SendMessageAnswer",
    "SendMessageRequest",
    "TextItem",
    "ToolCallResultItem",
    "ToolCallStartItem",
    "TypingRequest",
    "UnsetType",
    "UpdatesAnswer",
    "UpdatesRequest",
    "UploadUrlAnswer",
    "UploadUrlRequest",
    "VideoItem",
    "VoiceItem",
    "WeixinMessage",
    "WireId",
    "given",
    "read_id",
]

T = TypeVar("T")

_Text = str | None | UnsetType
_Int = int | None | UnsetType
_Bool = bool | None | UnsetType
WireId = int | str | None | UnsetType
"""An id as it travels: an unsigned 64-bit number, or the same as text."""


class WireModel(Struct, kw_only=True, omit_defaults=True):
    """What all models share: fields by keyword, absent ones left out when written."""


class BaseInfo(WireModel):
    """Who is calling; in every POST body but get_bot_qrcode's (official 2.4.9)."""

    channel_version: _Text = UNSET
    bot_agent: _Text = UNSET


class CdnMedia(WireModel):
    """A pointer to one encrypted blob, and its key (official 2.4.9)."""

    encrypt_query_param: _Text = UNSET
    aes_key: _Text = UNSET
    encrypt_type: _Int = UNSET
    full_url: _Text = UNSET


class TextItem(WireModel):
    """A text."""

    text: _Text = UNSET


class ImageItem(WireModel):
    """A picture. `aeskey` is hexadecimal and wins over `media.aes_key` (seed, official 2.4.9)."""

    media: CdnMedia | None | UnsetType = UNSET
    thumb_media: CdnMedia | None | UnsetType = UNSET
    aeskey: _Text = UNSET
    url: _Text = UNSET
    mid_size: _Int = UNSET
    thumb_size: _Int = UNSET
    thumb_height: _Int = UNSET
    thumb_width: _Int = UNSET
    hd_size: _Int = UNSET


class VoiceItem(WireModel):
    """A voice recording; `playtime` in milliseconds, `text` is Tencent's transcript (official 2.4.9)."""

    media: CdnMedia | None | UnsetType = UNSET
    encode_type: _Int = UNSET
    bits_per_sample: _Int = UNSET
    sample_rate: _Int = UNSET
    playtime: _Int = UNSET
    text: _Text = UNSET
    size: _Int = UNSET


class FileItem(WireModel):
    """A file; `len` is the number of plain bytes as text (official 2.4.9)."""

    media: CdnMedia | None | UnsetType = UNSET
    file_name: _Text = UNSET
    md5: _Text = UNSET
    len: _Text = UNSET


class VideoItem(WireModel):
    """A video; the unit of `play_length` is disputed (protocol §9 Q14)."""

    media: CdnMedia | None | UnsetType = UNSET
    video_size: _Int = UNSET
    play_length: _Int = UNSET
    video_md5: _Text = UNSET
    thumb_media: CdnMedia | None | UnsetType = UNSET
    thumb_size: _Int = UNSET
    thumb_height: _Int = UNSET
    thumb_width: _Int = UNSET


class ToolCallStartItem(WireModel):
    """An agent's tool call begins (official 2.4.4)."""

    tool_name: _Text = UNSET
    tool_call_id: _Text = UNSET


class ToolCallResultItem(WireModel):
    """An agent's tool call ended; `status` is one of `ToolStatus` (official 2.4.4)."""

    tool_name: _Text = UNSET
    tool_call_id: _Text = UNSET
    status: _Text = UNSET


class PartialText(WireModel):
    """Which words of a quoted message were selected (official 2.4.9)."""

    start: _Text = UNSET
    end: _Text = UNSET
    startindex: _Int = UNSET
    endindex: _Int = UNSET
    quotemd5: _Text = UNSET


class QuotedMessage(WireModel):
    """A quote (`ref_msg`): the quoted item itself on older phones, only its id on newer ones (official 2.4.9)."""

    message_item: MessageItem | None | UnsetType = UNSET
    title: _Text = UNSET
    svr_id: WireId = UNSET
    partial_text: PartialText | None | UnsetType = UNSET


class MessageItem(WireModel):
    """One part of a message: exactly the payload that matches `type` (official 2.4.9).

    `button_item_list` is seen in quotes, its shape unknown (observed: ocw#178, ocw#222).
    """

    type: _Int = UNSET
    create_time_ms: _Int = UNSET
    update_time_ms: _Int = UNSET
    is_completed: _Bool = UNSET
    msg_id: WireId = UNSET
    ref_msg: QuotedMessage | None | UnsetType = UNSET
    text_item: TextItem | None | UnsetType = UNSET
    image_item: ImageItem | None | UnsetType = UNSET
    voice_item: VoiceItem | None | UnsetType = UNSET
    file_item: FileItem | None | UnsetType = UNSET
    video_item: VideoItem | None | UnsetType = UNSET
    tool_call_start_item: ToolCallStartItem | None | UnsetType = UNSET
    tool_call_result_item: ToolCallResultItem | None | UnsetType = UNSET
    button_item_list: object = UNSET


class WeixinMessage(WireModel):
    """One message, in either direction (official 2.4.9, protocol §4.1)."""

    seq: _Int = UNSET
    message_id: WireId = UNSET
    from_user_id: _Text = UNSET
    to_user_id: _Text = UNSET
    client_id: _Text = UNSET
    create_time_ms: _Int = UNSET
    update_time_ms: _Int = UNSET
    delete_time_ms: _Int = UNSET
    session_id: _Text = UNSET
    group_id: _Text = UNSET
    message_type: _Int = UNSET
    message_state: _Int = UNSET
    item_list: list[MessageItem] | None | UnsetType = UNSET
    context_token: _Text = UNSET
    run_id: _Text = UNSET


class QrCodeRequest(WireModel, omit_defaults=False):
    """get_bot_qrcode by POST; `local_token_list` holds up to ten stored tokens, newest first (official 2.4.9).

    An empty list is written out: it asks for new credentials (observed: HKUDS/nanobot#5310).
    """

    local_token_list: list[str] = []


class UpdatesRequest(WireModel):
    """getupdates (seed); `sync_buf` is the cursor's deprecated predecessor, never sent (official 2.4.9)."""

    get_updates_buf: _Text = UNSET
    sync_buf: _Text = UNSET
    base_info: BaseInfo | None | UnsetType = UNSET


class SendMessageRequest(WireModel):
    """sendmessage (seed)."""

    msg: WeixinMessage | None | UnsetType = UNSET
    base_info: BaseInfo | None | UnsetType = UNSET


class ConfigRequest(WireModel):
    """getconfig; without `ilink_user_id` it is refused with -2 (observed: cc-connect#1339)."""

    ilink_user_id: _Text = UNSET
    context_token: _Text = UNSET
    base_info: BaseInfo | None | UnsetType = UNSET


class TypingRequest(WireModel):
    """sendtyping (seed)."""

    ilink_user_id: _Text = UNSET
    typing_ticket: _Text = UNSET
    status: _Int = UNSET
    base_info: BaseInfo | None | UnsetType = UNSET


class UploadUrlRequest(WireModel):
    """getuploadurl: sizes in bytes, hashes and the key in hexadecimal (official 2.4.9)."""

    filekey: _Text = UNSET
    media_type: _Int = UNSET
    to_user_id: _Text = UNSET
    rawsize: _Int = UNSET
    rawfilemd5: _Text = UNSET
    filesize: _Int = UNSET
    thumb_rawsize: _Int = UNSET
    thumb_rawfilemd5: _Text = UNSET
    thumb_filesize: _Int = UNSET
    no_need_thumb: _Bool = UNSET
    aeskey: _Text = UNSET
    base_info: BaseInfo | None | UnsetType = UNSET


class NotifyRequest(WireModel):
    """msg/notifystart and msg/notifystop (official 2.4.9)."""

    base_info: BaseInfo | None | UnsetType = UNSET


class Answer(WireModel):
    """What every answer may carry.

    `ret` and `errcode` keep whatever came, because a null or a text in them is a failure of its own kind
    (official 2.4.9 compares strictly with 0); `ilink.wire.results` reads them.
    """

    ret: object = UNSET
    errcode: object = UNSET
    errmsg: _Text = UNSET


class QrCodeAnswer(Answer):
    """get_bot_qrcode: the code's token and the text to show as a QR image (seed)."""

    qrcode: _Text = UNSET
    qrcode_img_content: _Text = UNSET


class LoginStatusAnswer(Answer):
    """get_qrcode_status; the credentials come with `confirmed` (seed, official 2.4.9)."""

    status: _Text = UNSET
    bot_token: _Text = UNSET
    ilink_bot_id: _Text = UNSET
    ilink_user_id: _Text = UNSET
    baseurl: _Text = UNSET
    redirect_host: _Text = UNSET


class UpdatesAnswer(Answer):
    """getupdates: raw messages, so that they can be stored before anything in them is read."""

    msgs: list[Raw] | None | UnsetType = UNSET
    get_updates_buf: _Text = UNSET
    sync_buf: _Text = UNSET
    longpolling_timeout_ms: _Int = UNSET


class SendMessageAnswer(Answer):
    """sendmessage; an absent `message_id` goes with messages that never arrive (observed: ocw#263)."""

    message_id: WireId = UNSET


class ConfigAnswer(Answer):
    """getconfig; nobody has captured a `context_token` in it, but a peer looks for one (protocol §9 Q6)."""

    typing_ticket: _Text = UNSET
    context_token: _Text = UNSET


class UploadUrlAnswer(Answer):
    """getuploadurl: two spellings of the permission to upload one blob (official 2.4.9)."""

    upload_param: _Text = UNSET
    thumb_upload_param: _Text = UNSET
    upload_full_url: _Text = UNSET


def given(value: T | None | UnsetType, default: T) -> T:
    """Return the value, or the default where the field was absent or null."""
    return default if value is None or value is UNSET else value


def read_id(value: WireId) -> MessageId | None:
    """Read an id that came as number or text; None where it is absent, null, empty or 0, the wire's ways of "unset"."""
    text = str(given(value, "")).strip()
    return MessageId(text) if text not in ("", "0") else None
