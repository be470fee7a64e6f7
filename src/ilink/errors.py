"""Every exception `ilink` raises.

    IlinkError
    ├── ConfigError                 wrong argument or setting; raised before any I/O
    ├── TransportError              no usable answer
    │   ├── ConnectError            nothing was written: safe to try again
    │   └── OutcomeUnknownError     written, no answer: try again only if repeating is harmless
    ├── ProtocolError
    │   ├── LocalProtocolError      we were about to break the protocol
    │   └── RemoteProtocolError     an answer we cannot read; keeps its redacted beginning
    ├── ApiError                    the server said no: endpoint, http_status, ret, errcode, errmsg
    │   ├── StaleTokenError         wait or sign in: the application chooses
    │   ├── WindowClosedError       wait for the user to write
    │   ├── RateLimitedError        retry_after; repeating early makes it worse
    │   ├── RequestRejectedError    do not repeat unchanged
    │   └── ServerError             try again later
    ├── LoginError
    │   ├── QrCodeExpiredError      every code ran out before somebody confirmed one
    │   └── LoginCancelledError     the person or the program gave up
    ├── MediaError
    │   ├── DecryptionError         wrong key, or the bytes were cut
    │   ├── IntegrityError          size or hash is not what was announced
    │   ├── TooLargeError           over a limit, before or while it was moved
    │   └── ForbiddenFileError      a path outside of the folders that files may be sent from
    ├── StoreError
    │   ├── StoreLockedError        another process holds it: who
    │   ├── StoreUnavailableError   the database is away for now: try again
    │   └── StoreCorruptError       what is on the disk cannot be read
    ├── ConversationError
    │   ├── AskError                a question was not answered
    │   │   ├── AskTimeoutError     nobody answered in time
    │   │   ├── AskCancelledError   the user cancelled
    │   │   └── AskExhaustedError   no answer could be read, too often
    │   ├── ConversationChangedError  the handler asks something else than it did before
    │   └── StateError              a conversation's state cannot be kept or read: names the field
    └── HandlerError                wraps what a handler raised, with its message

A class exists where the caller would react differently. Only `transient` decides whether anything is repeated.
"""

from __future__ import annotations

from typing import ClassVar

__all__ = [
    "ApiError",
    "AskCancelledError",
    "AskError",
    "AskExhaustedError",
    "AskTimeoutError",
    "ConfigError",
    "ConnectError",
    "ConversationChangedError",
    "ConversationError",
    "DecryptionError",
    "ForbiddenFileError",
    "HandlerError",
    "IlinkError",
    "IntegrityError",
    "LocalProtocolError",
    "LoginCancelledError",
    "LoginError",
    "MediaError",
    "OutcomeUnknownError",
    "ProtocolError",
    "QrCodeExpiredError",
    "RateLimitedError",
    "RemoteProtocolError",
    "RequestRejectedError",
    "ServerError",
    "StaleTokenError",
    "StateError",
    "StoreCorruptError",
    "StoreError",
    "StoreLockedError",
    "StoreUnavailableError",
    "TooLargeError",
    "TransportError",
    "WindowClosedError",
]


class IlinkError(Exception):
    """The root of everything `ilink` raises on purpose."""

    transient: ClassVar[bool] = False
    """Whether the same call may succeed later without any change."""


class ConfigError(IlinkError):
    """A wrong argument or setting, found before any I/O. Mend the call or the setting the message names."""


class TransportError(IlinkError):
    """No usable answer came back."""


class ConnectError(TransportError):
    """Nothing was written to the server, so repeating the call is safe."""

    transient = True


class OutcomeUnknownError(TransportError):
    """The request was written and no answer came; it may or may not have taken effect.

    Repeat only what is harmless to repeat: a poll, or a send that keeps its client id.

    Attributes:
        timed_out: Whether the wait ended by the caller's time limit, not by the connection.
    """

    def __init__(self, message: str, *, timed_out: bool = False) -> None:
        super().__init__(message)
        self.timed_out = timed_out


class ProtocolError(IlinkError):
    """One of the two sides does not keep to the protocol."""


class LocalProtocolError(ProtocolError):
    """This program was about to send what the protocol forbids; nothing was sent."""


class RemoteProtocolError(ProtocolError):
    """An answer that cannot be read.

    Attributes:
        excerpt: The redacted beginning of the answer, for a report.
    """

    def __init__(self, message: str, *, excerpt: str = "") -> None:
        super().__init__(message)
        self.excerpt = excerpt


class ApiError(IlinkError):
    """The server answered, and the answer is no.

    Raised itself for codes nobody has documented. `ret` and `errcode` are kept as they came, because either may be
    missing and both occur alone (observed: corespeed-io/wechatbot#65).

    Attributes:
        endpoint: The endpoint's name, such as `sendmessage`.
        http_status: The HTTP status of the answer; business errors come with 200.
        ret: The answer's `ret`, or None when it had none that is a number.
        errcode: The answer's `errcode`, likewise.
        errmsg: The server's own words, or an empty string.
    """

    def __init__(
        self,
        message: str,
        *,
        endpoint: str,
        http_status: int = 200,
        ret: int | None = None,
        errcode: int | None = None,
        errmsg: str = "",
    ) -> None:
        super().__init__(message)
        self.endpoint = endpoint
        self.http_status = http_status
        self.ret = ret
        self.errcode = errcode
        self.errmsg = errmsg

    @property
    def code(self) -> int | None:
        """The number that says no: `errcode` if it is set and not 0, else `ret`."""
        return self.errcode or self.ret


class StaleTokenError(ApiError):
    """The account's token stopped working (-14). Nothing is deleted: wait, or sign in again."""


class WindowClosedError(ApiError):
    """Nothing may be sent to this user until they write again. Repeating before that only makes it worse."""


class RateLimitedError(ApiError):
    """Too many calls.

    Attributes:
        retry_after: Seconds to wait before the next attempt, or None when the server named none; at least 30 seconds
            then, because an attempt during the penalty may lengthen it (observed: chenhg5/cc-connect#1643).
    """

    transient = True

    def __init__(
        self,
        message: str,
        *,
        endpoint: str,
        http_status: int = 200,
        ret: int | None = None,
        errcode: int | None = None,
        errmsg: str = "",
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, endpoint=endpoint, http_status=http_status, ret=ret, errcode=errcode, errmsg=errmsg)
        self.retry_after = retry_after


class RequestRejectedError(ApiError):
    """The request itself is wrong. Do not repeat it unchanged."""


class ServerError(ApiError):
    """The server or something in front of it failed. Try again later."""

    transient = True


class LoginError(IlinkError):
    """The login ended without credentials."""


class QrCodeExpiredError(LoginError):
    """Every QR code of this login ran out. Start a new login when somebody is there to scan."""


class LoginCancelledError(LoginError):
    """The login was given up before anybody confirmed it."""


class MediaError(IlinkError):
    """A file could not be moved or read."""


class DecryptionError(MediaError):
    """The bytes do not decrypt with this key: it is the wrong key, or the data was cut."""


class IntegrityError(MediaError):
    """Size or hash differ from what was announced. Nothing was left under the final name."""


class TooLargeError(MediaError):
    """Over a size limit, which the message names."""


class ForbiddenFileError(MediaError):
    """A file outside of `Policies.file_roots` was to be sent, by its path or by a link. Nothing was read or stored."""


class StoreError(IlinkError):
    """The disk or the database did not take or give what was asked."""


class StoreLockedError(StoreError):
    """Another process holds this account or folder.

    Attributes:
        holder: What is known of that process, such as `pid 4242 (ilink run)`.
    """

    def __init__(self, message: str, *, holder: str = "") -> None:
        super().__init__(message)
        self.holder = holder


class StoreUnavailableError(StoreError):
    """The database cannot be reached, or takes nothing for now: it restarts, is full, crowded or read-only.

    Attributes:
        is_uncertain: Whether the connection was cut while something was written, so that it may have been stored.
            Otherwise nothing was.
    """

    transient = True

    def __init__(self, message: str, *, is_uncertain: bool = False) -> None:
        super().__init__(message)
        self.is_uncertain = is_uncertain


class StoreCorruptError(StoreError):
    """What is on the disk cannot be read, or was written by a newer version."""


class ConversationError(IlinkError):
    """Something about a conversation that a handler leads cannot go on."""


class AskError(ConversationError):
    """A question was not answered.

    A handler may catch it and go on; if it does not, the conversation ends with a polite text and nothing failed.

    Attributes:
        question: What was asked.
    """

    def __init__(self, message: str, *, question: str) -> None:
        super().__init__(message)
        self.question = question


class AskTimeoutError(AskError):
    """Nobody answered in time."""


class AskCancelledError(AskError):
    """The user said that they do not want to go on."""


class AskExhaustedError(AskError):
    """The user answered, and no answer could be read, too often."""


class ConversationChangedError(ConversationError):
    """A handler that was run again took another way than before, or is gone, so the answers it was given do not fit.

    The conversation is ended with a polite text. Give what changes between runs to `once`, and questions that may be
    worded anew a name.

    Attributes:
        handler: The name of the handler.
        place: Which question differs, from 1; 0 when the handler itself is gone.
        question: What it asked before.
    """

    def __init__(self, message: str, *, handler: str, place: int, question: str) -> None:
        super().__init__(message)
        self.handler = handler
        self.place = place
        self.question = question


class StateError(ConversationError):
    """A conversation's state cannot be kept or read.

    Attributes:
        state: The name of the state's type.
        field: Where in it, such as `$.items[2].price`; empty when it is all of it.
    """

    def __init__(self, message: str, *, state: str, field: str = "") -> None:
        super().__init__(message)
        self.state = state
        self.field = field


class HandlerError(IlinkError):
    """A handler of the application raised; the cause is chained.

    Attributes:
        handler: The qualified name of the handler.
        message_id: The id of the message it was handling, or None.
    """

    def __init__(self, message: str, *, handler: str, message_id: str | None = None) -> None:
        super().__init__(message)
        self.handler = handler
        self.message_id = message_id
