"""A way to send messages along a route, and how sending can fail."""

from __future__ import annotations

from datetime import timedelta
from typing import Protocol

import structlog

from notifications.address_policy import AddressPolicy
from notifications.messages import Message
from storage.alarms.routes import AlarmRoute

log = structlog.get_logger()


class DeliveryFailed(Exception):
    """A message did not arrive; the text says why, and holds neither address nor secret.

    Parameters
    ----------
    is_message_refused : bool
        Whether the receiver refuses this very message, so that others may arrive.
    retry_after : timedelta, optional
        For how long the receiver asks to be left alone.
    """

    def __init__(
        self, reason: str, *, is_message_refused: bool = False, retry_after: timedelta | None = None
    ) -> None:
        super().__init__(reason)
        self.is_message_refused = is_message_refused
        self.retry_after = retry_after


class Channel(Protocol):
    """An open connection to the receiver of a route."""

    def send(self, message: Message) -> None:
        """Send a message and wait until it has arrived; raise DeliveryFailed if that is not certain."""

    def close(self) -> None:
        """Close the connection."""


def open_channel(route: AlarmRoute, policy: AddressPolicy) -> Channel:
    """Return the channel of a route; it connects when something is sent."""
    # Each kind is imported when it is used: most servers need one of them, or none.
    if route.kind == "webhook":
        from notifications.webhook import WebhookChannel

        return WebhookChannel(route, policy)
    if route.kind == "mqtt":
        from notifications.mqtt import MqttChannel

        return MqttChannel(route, policy)
    from notifications.apprise_channel import AppriseChannel

    return AppriseChannel(route, policy)


def send_message(channel: Channel, message: Message) -> None:
    """Send a message; an error of the channel itself counts as a failure, so that its route pauses.

    Raises
    ------
    DeliveryFailed
        The message did not arrive, whatever the reason.
    """
    try:
        channel.send(message)
    except DeliveryFailed:
        raise
    except Exception as error:
        log.exception("alarm_channel_failed", message_id=message.id)
        close_channel(channel)
        raise DeliveryFailed(
            f"an error inside Millwright ({type(error).__name__}); the log says more"
        ) from error


def close_channel(channel: Channel) -> None:
    """Close a channel; one that cannot be closed must not keep other routes from delivering."""
    try:
        channel.close()
    except Exception:
        log.exception("alarm_channel_not_closed")
