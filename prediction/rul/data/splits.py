"""Devices into training, validation and test: whole devices, and the same ones every time."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final

from errors import NotEnoughData
from prediction.splits import SplitCertificate, to_intervals

MIN_DEVICES: Final = 5
TEST, VALIDATION = 0.20, 0.16
Parts = tuple[list[int], list[int], list[int]]


def split_by_device(names: Sequence[str], seed: int) -> Parts:
    """Places of the devices for training, validation and test, about 64/16/20.

    A device's part hangs on its name and the seed alone, so a fleet that grows keeps its held-out devices and
    a later model can be compared with an earlier one. Where a part would stay empty the shares are counted
    off instead.

    Raises
    ------
    NotEnoughData
        Fewer than five devices.
    """
    if len(names) < MIN_DEVICES:
        raise NotEnoughData(too_few(len(names)))
    shares = [_share(name, seed) for name in names]
    test = [place for place, share in enumerate(shares) if share < TEST]
    validation = [place for place, share in enumerate(shares) if TEST <= share < TEST + VALIDATION]
    train = [place for place, share in enumerate(shares) if share >= TEST + VALIDATION]
    if min(len(test), len(validation)) >= max(1, len(names) // 10) and len(train) >= len(names) // 2:
        return train, validation, test
    return _counted(shares)


def too_few(count: int) -> str:
    """That so many devices are not enough, as a sentence without its end."""
    return (
        f"Not enough devices that have failed: {count}, at least {MIN_DEVICES} are needed, "
        "so that the model can be judged on devices it has never seen"
    )


def _share(name: str, seed: int) -> float:
    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _counted(shares: Sequence[float]) -> Parts:
    order = sorted(range(len(shares)), key=lambda place: shares[place])
    tests = max(1, round(TEST * len(order)))
    validations = max(1, round(VALIDATION * len(order)))
    last = tests + validations
    return sorted(order[last:]), sorted(order[tests:last]), sorted(order[:tests])


def certify(parts: Parts) -> SplitCertificate:
    """The certificate over devices, numbered in order of their names."""
    train, validation, test = (to_intervals(part) for part in parts)
    return SplitCertificate("device", "unit", train, validation, test)
