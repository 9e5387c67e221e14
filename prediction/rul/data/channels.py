"""Which channels the devices of a fleet have in common, and which devices are of another kind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

from errors import NotEnoughData
from prediction.contract import JSON
from prediction.rul.data.collect import AGE
from storage.devices.telemetry import DeviceTelemetry

SETTING: Final = "setting"
_USUAL: Final = 0.8
"""A channel that this share of the devices has is one that every device should have."""
_MOST_ODD: Final = 0.2
"""Where more devices than this share are odd, there is no usual device."""


def find_outlier_devices(fleet: Sequence[DeviceTelemetry]) -> dict[int, list[str]]:
    """Places of the few devices that lack channels which most have, and what they lack.

    A strange device, or one whose sensor never reported, must not take its channels from all the others.
    """
    counts = Counter(name for device in fleet for name in device.channels if name != AGE)
    usual = {name for name, count in counts.items() if count >= _USUAL * len(fleet)}
    lacking = {place: sorted(usual.difference(device.channels)) for place, device in enumerate(fleet)}
    odd = {place: names for place, names in lacking.items() if names}
    return odd if usual and len(odd) <= _MOST_ODD * len(fleet) else {}


def select_channels(fleet: Sequence[DeviceTelemetry], options: JSON) -> tuple[list[str], list[str]]:
    """The channels that the network is shown, and the settings, of those that every device has.

    Raises
    ------
    NotEnoughData
        There are none, or a setting that was asked for is not among them.
    """
    shared = set(fleet[0].channels).intersection(*(device.channels for device in fleet))
    settings = sorted(_settings(shared, options["setting_channels"]))
    if not shared - {AGE}:
        raise NotEnoughData(_strangers(fleet))
    aside = {*settings, *(() if options["use_age"] else (AGE,))}
    channels = [name for name in fleet[0].channels if name in shared - aside]
    if not channels:
        raise NotEnoughData(
            f"The devices share only setting channels ({', '.join(settings)}): a model needs one more"
        )
    return channels, settings


def _settings(shared: set[str], asked: Sequence[str] | None) -> set[str]:
    if asked is None:
        return {name for name in shared if SETTING in name.lower()}
    if missing := sorted(set(asked) - shared):
        raise NotEnoughData(f"Not every device has the setting channels {', '.join(missing)}")
    return set(asked)


def _strangers(fleet: Sequence[DeviceTelemetry]) -> str:
    """An example of each of two kinds of devices."""
    first = fleet[0]
    mine = set(first.channels) - {AGE}
    other = min(fleet[1:], key=lambda device: len(mine.intersection(device.channels)), default=first)
    told = [f"{one.device_id} has {_few(set(one.channels) - {AGE})}" for one in (first, other)]
    return (
        f"The devices have no channel in common: {', '.join(told)}. Name those that belong together in "
        "device_ids, and give each kind a model of its own"
    )


def _few(names: set[str]) -> str:
    shown = sorted(names)
    return ", ".join(shown[:5]) + (f" and {len(shown) - 5} more" if len(shown) > 5 else "")
