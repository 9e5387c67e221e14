"""Split devices into training, validation and test: whole devices, and the same ones every time."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final

from errors import NotEnoughData
from prediction.splits import SplitCertificate, to_intervals

# One device to learn from, one to choose the epoch with, one to be judged on.
MIN_DEVICES: Final = 3
# Of fewer than ten devices, 16 % is one that would choose the epoch and calibrate the intervals alone, and 20 % one or
# two that would judge. With ten and more, each part has about two, and a training for each device costs too much.
MAX_LEFT_OUT: Final = 9
TEST_SHARE, VALIDATION_SHARE = 0.20, 0.16
# Positions of the devices for training, validation and test.
DeviceSplit = tuple[list[int], list[int], list[int]]


def split_by_device(names: Sequence[str], seed: int) -> DeviceSplit:
    """Split the positions of devices about 64/16/20.

    The part of a device depends on its name and the seed only. A growing fleet therefore keeps its held-out
    devices, and later models can be compared with earlier ones. If a part would be nearly empty, the devices
    with the lowest hashes are counted off instead.

    Raises
    ------
    NotEnoughData
        There are fewer than three devices.
    """
    if len(names) < MIN_DEVICES:
        raise NotEnoughData(too_few_message(len(names)))
    hashes = []
    for name in names:
        digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
        hashes.append(int.from_bytes(digest[:8], "big") / 2**64)
    held_out = TEST_SHARE + VALIDATION_SHARE
    test = [position for position, value in enumerate(hashes) if value < TEST_SHARE]
    validation = [position for position, value in enumerate(hashes) if TEST_SHARE <= value < held_out]
    train = [position for position, value in enumerate(hashes) if value >= held_out]
    if min(len(test), len(validation)) >= max(1, len(names) // 10) and len(train) >= len(names) // 2:
        return train, validation, test
    order = sorted(range(len(hashes)), key=lambda position: hashes[position])
    num_test = max(1, round(TEST_SHARE * len(order)))
    end = num_test + max(1, round(VALIDATION_SHARE * len(order)))
    return sorted(order[end:]), sorted(order[num_test:end]), sorted(order[:num_test])


def leave_one_out(count: int) -> list[DeviceSplit]:
    """Return a split for each device, in which it is the test part; the next one chooses the epoch."""
    folds = []
    for held_out in range(count):
        validation = (held_out + 1) % count
        train = [number for number in range(count) if number not in (held_out, validation)]
        folds.append((train, [validation], [held_out]))
    return folds


def too_few_message(count: int) -> str:
    """Return the reason why so many devices are not enough, without a full stop."""
    return (
        f"Not enough devices that have failed: {count}, at least {MIN_DEVICES} are needed, "
        "so that the model can be judged on devices it has never seen"
    )


def certify(split: DeviceSplit) -> SplitCertificate:
    """Return the certificate over devices, numbered in order of their names."""
    train, validation, test = (to_intervals(part) for part in split)
    return SplitCertificate("device", "unit", train, validation, test)


def describe_folds(count: int) -> str:
    """Return how so many folds judge, as a sentence without a full stop; empty where one split does."""
    if not count:
        return ""
    return (
        f"Only {count} devices have failed, so each was held out in turn and predicted by a model that had not seen "
        "it; the model that serves has learnt from all of them"
    )


def certify_folds(folds: Sequence[DeviceSplit]) -> SplitCertificate:
    """Return the certificate of a cross-validation, after which all devices train what serves."""
    everyone = to_intervals(number for fold in folds for part in fold for number in part)
    return SplitCertificate("device", "leave_one_out", everyone, folds=[certify(fold) for fold in folds])
