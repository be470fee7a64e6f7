"""What clients do that the protocol's notes advise against: one table for wire log, tests and reference page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["FINDINGS", "Finding"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that can be found in an exchange.

    Attributes:
        code: What it is called; codes stay what they are.
        words: What the client did, and what it should do.
        evidence: Why it matters, with the standing of that.
    """

    code: str
    words: str
    evidence: str


_TABLE: Final = (
    Finding(
        code="header_missing:authorizationtype",
        words="The header AuthorizationType is missing; send `ilink_bot_token` with every POST.",
        evidence="an immediate session error without it (peer: ilink-hub)",
    ),
    Finding(
        code="header_missing:ilink-app-id",
        words="The header iLink-App-Id is missing; send `bot`.",
        evidence="-14 at once without the app headers (observed: qwen-code#2908)",
    ),
    Finding(
        code="header_missing:ilink-app-clientversion",
        words="The header iLink-App-ClientVersion is missing; send the encoded version.",
        evidence="only the first reply of a connection was delivered without (observed: pawwork#1404)",
    ),
    Finding(
        code="header_missing:x-wechat-uin",
        words="The header X-WECHAT-UIN is missing; send base64 of a random number's decimal text, fresh each time.",
        evidence="official 2.4.9",
    ),
    Finding(
        code="token_missing",
        words="There is no `Authorization: Bearer` with a token; such a call is answered with -14.",
        evidence="observed: ocw#44",
    ),
    Finding(
        code="token_unknown",
        words="This gateway never gave out the token; it may be from before a reset, or from elsewhere.",
        evidence="observed: ocw#44",
    ),
    Finding(
        code="cursor_unreadable",
        words="The cursor is none of this gateway's; send it back exactly as it came.",
        evidence="cursors are opaque (seed)",
    ),
    Finding(
        code="cursor_foreign",
        words="The cursor belongs to another bot; keep one for each account.",
        evidence="official 2.4.9 keeps it in the account's own file",
    ),
    Finding(
        code="cursor_old_generation",
        words="The cursor is from another life of this mailbox; start with an empty one after a new login.",
        evidence="protocol §7.2",
    ),
    Finding(
        code="cursor_reused",
        words="The cursor is older than one that was presented already; store each new cursor before polling again.",
        evidence="the same messages came again (observed: clowder-ai#998)",
    ),
    Finding(
        code="cursor_lost",
        words="The poll begins with an empty cursor although this bot presented one before; store the cursor on disk.",
        evidence="the real server does not hand messages out again (observed: ocw#164)",
    ),
    Finding(
        code="two_pollers",
        words="A second poll came while one was held; poll one at a time, from one process.",
        evidence="two pollers split the stream (observed: lingtai#83)",
    ),
    Finding(
        code="stale_loop",
        words="Three polls in a row were answered with -14 and repeated within a second; pause, or sign in again.",
        evidence="the vendor's client waits 60 minutes (official 2.4.9)",
    ),
    Finding(
        code="retry_storm",
        words="Four calls in a row failed and were repeated within a second each; wait longer after every failure.",
        evidence="repeats made the penalty grow (observed: cc-connect#1643)",
    ),
    Finding(
        code="context_token_missing",
        words="The person has written, and the send echoes no context token; echo the newest one.",
        evidence="required (seed); dropped or refused without (observed: ocw#216, ocw#247)",
    ),
    Finding(
        code="context_token_unknown",
        words="The context token was never given for this chat; echo the one of this person's newest message.",
        evidence="protocol §7.8",
    ),
    Finding(
        code="context_token_old",
        words="A newer context token of this person was received and acknowledged; echo the newest one.",
        evidence="protocol §7.8",
    ),
    Finding(
        code="sends_over_ten",
        words="More than ten messages since the person last wrote; stop at ten and wait for the person.",
        evidence="-2 after about ten (observed: ocw#81, ocw#202)",
    ),
    Finding(
        code="message_incomplete",
        words="The message lacks client_id, message_type or message_state; it is accepted and never shown.",
        evidence="peer: dsh-bridge",
    ),
    Finding(
        code="several_items",
        words="The message has more than one item; send each item as a message of its own.",
        evidence="one item (official 2.4.9); text with voice was refused (observed: ocw#282)",
    ),
    Finding(
        code="client_id_repeated",
        words="A client id came again although its first send was answered; make a new one for every message.",
        evidence="protocol §9 Q10",
    ),
    Finding(
        code="typing_ticket_invalid",
        words="The typing ticket is none for this person, or too old; ask getconfig for one and keep it per person.",
        evidence="official 2.4.9",
    ),
    Finding(
        code="media_key_form",
        words="`media.aes_key` is not base64 of the key's hexadecimal text; phones cannot open such media.",
        evidence="grey pictures (observed: lingtai#82; peer: hermes, dsh-bridge)",
    ),
    Finding(
        code="media_reference_unknown",
        words="`encrypt_query_param` is no reference that an upload of this bot was answered with;"
        " use `x-encrypted-param`, not `upload_param`.",
        evidence="accepted, and dropped by the phone (peer: dsh-bridge)",
    ),
    Finding(
        code="media_size_mismatch",
        words="The size in the item is not that of the upload: `mid_size` and `video_size` count encrypted bytes,"
        " `len` plain ones.",
        evidence="official 2.4.9; sends without mid_size were refused (observed: lingtai#82)",
    ),
    Finding(
        code="aeskey_not_hex",
        words="`aeskey` of getuploadurl is not 32 hexadecimal digits.",
        evidence="official 2.4.9",
    ),
    Finding(
        code="filesize_is_not_the_padded_rawsize",
        words="`filesize` is not what `rawsize` encrypts to; it is 16 * (rawsize // 16 + 1).",
        evidence="official 2.4.9",
    ),
    Finding(
        code="upload_size_mismatch",
        words="The upload has another size than `filesize` announced.",
        evidence="assumed to be refused (protocol §9 Q30)",
    ),
    Finding(
        code="upload_undecryptable",
        words="The upload does not decrypt with the `aeskey` that getuploadurl was told:"
        " encrypt with AES-128-ECB and PKCS#7 padding.",
        evidence="official 2.4.9; grey pictures (observed: lingtai#82)",
    ),
    Finding(
        code="upload_rawsize_mismatch",
        words="The upload decrypts to another size than `rawsize` announced, though `filesize` fits.",
        evidence="assumed to be checked (protocol §9 Q30)",
    ),
    Finding(
        code="upload_md5_mismatch",
        words="The MD5 of the upload's plain bytes is not the announced `rawfilemd5`; it is of the file, not of what"
        " travels.",
        evidence="official 2.4.9; a check of the content exists (peer: dsh-bridge)",
    ),
    Finding(
        code="upload_by_put",
        words="An upload came by another method than POST.",
        evidence="PUT is answered with 404 (observed: lingtai#82)",
    ),
)

FINDINGS: Final[dict[str, Finding]] = {finding.code: finding for finding in _TABLE}
"""Every finding by its code."""
