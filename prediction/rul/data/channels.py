"""The channels that the devices of a fleet share, and the devices of another kind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

from errors import NotEnoughData
from prediction.contract import Options
from prediction.rul.data.collect import AGE
from storage.devices.telemetry import DeviceTelemetry

SETTING: Final = "setting"
# A channel that this share of the devices has is expected of every device.
_USUAL_SHARE: Final = 0.8
# If more devices than this share differ, no kind of device is the usual one.
_MAX_OUTLIER_SHARE: Final = 0.2


def find_outlier_devices(fleet: Sequence[DeviceTelemetry]) -> dict[int, list[str]]:
    """Return the positions of the few devices that lack usual channels, with these channels.

    A strange device, or one whose sensor never reported, must not remove its channels from all the others.
    """
    counts = Counter(name for device in fleet for name in device.channels if name != AGE)
    usual = {name for name, count in counts.items() if count >= _USUAL_SHARE * len(fleet)}
    missing = {number: sorted(usual.difference(device.channels)) for number, device in enumerate(fleet)}
    outliers = {number: names for number, names in missing.items() if names}
    return outliers if usual and len(outliers) <= _MAX_OUTLIER_SHARE * len(fleet) else {}


def select_channels(fleet: Sequence[DeviceTelemetry], options: Options) -> tuple[list[str], list[str]]:
    """Return the network's channels and the settings, of those that every device has.

    Raises
    ------
    NotEnoughData
        There are none, or a requested setting is not among them.
    """
    shared = set(fleet[0].channels).intersection(*(device.channels for device in fleet))
    requested = options["setting_channels"]
    if requested is not None and (missing := sorted(set(requested) - shared)):
        raise NotEnoughData(f"Not every device has the setting channels {', '.join(missing)}")
    by_name = shared.difference(options["exclude_channels"] or ())
    by_name = {name for name in by_name if SETTING in name.lower()}
    settings = sorted(by_name if requested is None else set(requested))
    if not shared - {AGE}:
        raise NotEnoughData(_describe_kinds(fleet))
    excluded = {*settings, *(options["exclude_channels"] or ()), *(() if options["use_age"] else (AGE,))}
    channels = [name for name in fleet[0].channels if name in shared - excluded]
    if not channels:
        raise NotEnoughData(
            f"The devices share only setting channels ({', '.join(settings)}): a model needs one more"
        )
    return channels, settings


def _describe_kinds(fleet: Sequence[DeviceTelemetry]) -> str:
    """Describe an example of each of two kinds of devices."""
    first = fleet[0]
    own = set(first.channels) - {AGE}
    stranger = min(fleet[1:], key=lambda device: len(own.intersection(device.channels)), default=first)
    examples = []
    for device in (first, stranger):
        names = sorted(set(device.channels) - {AGE})
        more = f" and {len(names) - 5} more" if len(names) > 5 else ""
        examples.append(f"{device.device_id} has {', '.join(names[:5])}{more}")
    return (
        f"The devices have no channel in common: {', '.join(examples)}. Name those that belong together in "
        "device_ids, and give each kind a model of its own"
    )
