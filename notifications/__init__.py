"""Carries alarms to people: along webhooks, MQTT, and what `apprise` reaches (e-mail, Teams, Slack).

Events write alarms into the outbox (``storage.alarms``). One process of the server runs the `Notifier`, which
gives them to the routes that accept them and delivers them in order, again and again until they arrive.
"""

from notifications.channels import Channel, DeliveryFailed, close_channel, open_channel, send_message
from notifications.notifier import Notifier, find_unchecked, notifier_lock
from notifications.route_address import check_change, check_route, hide_address

__all__ = [
    "Channel",
    "DeliveryFailed",
    "Notifier",
    "check_change",
    "check_route",
    "close_channel",
    "find_unchecked",
    "hide_address",
    "notifier_lock",
    "open_channel",
    "send_message",
]
