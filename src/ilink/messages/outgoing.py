"""What goes out: one item to one user, and what the server said to it."""

from __future__ import annotations

from msgspec import Struct

from ilink.wire.enums import ItemType, MessageState, MessageType
from ilink.wire.ids import ClientId, MessageId, Secret, UserId
from ilink.wire.models import UNSET, MessageItem, TextItem, WeixinMessage

__all__ = ["MAX_TEXT_BYTES", "OutgoingMessage", "SendReceipt", "text_item"]

MAX_TEXT_BYTES = 16_384
"""The longest text the server takes, in bytes of UTF-8 (peer: weilink, measured)."""


class OutgoingMessage(Struct, frozen=True, kw_only=True):
    """One message, that is one item, to one user.

    Attributes:
        to: Who it is for; the case of the id is kept.
        item: The one item. Several parts are several messages.
        client_id: Names this message for good: sent again, it keeps its client id.
        context_token: The newest one the user's messages carried; None when none is known, which is accepted less
            reliably (protocol §9 Q5).
        run_id: Ties the messages of one turn together.
    """

    to: UserId
    item: MessageItem
    client_id: ClientId
    context_token: Secret | None = None
    run_id: str | None = None

    def to_wire(self) -> WeixinMessage:
        """Return the message as sendmessage takes it; without type, state and client id it is never shown."""
        return WeixinMessage(
            from_user_id="",
            to_user_id=self.to,
            client_id=self.client_id,
            message_type=MessageType.BOT,
            message_state=MessageState.FINISH,
            item_list=[self.item],
            context_token=UNSET if self.context_token is None else self.context_token.reveal(),
            run_id=UNSET if self.run_id is None else self.run_id,
        )


class SendReceipt(Struct, frozen=True, kw_only=True):
    """The server accepted a message, which is not yet delivery.

    Attributes:
        client_id: The one the message was sent with.
        message_id: The server's id; None when it gave none, which goes with messages that never arrive
            (observed: ocw#263).
    """

    client_id: ClientId
    message_id: MessageId | None

    @property
    def is_confirmed(self) -> bool:
        """Whether the server gave the message an id."""
        return self.message_id is not None


def text_item(text: str) -> MessageItem:
    """Return the item that says a text."""
    return MessageItem(type=ItemType.TEXT, text_item=TextItem(text=text))
