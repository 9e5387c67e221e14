"""Split recordings into training, validation and test: by specimen where known, copies together."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from errors import NotEnoughData
from prediction.splits import SplitCertificate, to_intervals
from storage.datasets.recordings.collection import Recording

# A fifth of a class's specimens (or recordings) is for the test, a fifth for validation.
HELD_OUT_SHARE: Final = 0.2
_MIN_GROUPS: Final = 3
# Indices of recordings that must stay together.
Group = list[int]
# Groups for training, validation and test.
Parts = tuple[list[Group], list[Group], list[Group]]


@dataclass(frozen=True)
class RecordingSplit:
    """Indices of recordings by part.

    Parameters
    ----------
    by : str
        ``"specimen"`` or ``"recording"``.
    note : str
        Why it is not split by specimen although specimens are known; empty otherwise.
    """

    train: list[int]
    validation: list[int]
    test: list[int]
    certificate: SplitCertificate
    by: str
    note: str = ""


def split_recordings(entries: Sequence[Recording], split_by: str = "auto", seed: int = 42) -> RecordingSplit:
    """Split labelled recordings; the part of a group depends on its name and the seed only.

    Raises
    ------
    NotEnoughData
        A class has fewer than three groups, so a part would lack it.
    """
    unnamed = sum(not entry.specimen for entry in entries)
    if split_by == "specimen" and unnamed:
        raise NotEnoughData(
            f"{unnamed} recordings name no specimen: ask for split_by recording, or name them"
        )
    if split_by == "specimen" or (split_by == "auto" and not unnamed):
        parts = _assign_groups(entries, seed, by_specimen=True)
        if parts is not None:
            return _build_split(entries, parts, "specimen")
        if split_by == "specimen":
            raise _too_few(entries, by_specimen=True)
    parts = _assign_groups(entries, seed, by_specimen=False)
    if parts is None:
        raise _too_few(entries, by_specimen=False)
    note = ""
    if split_by == "auto" and not unnamed:
        counts = _count_groups(entries, by_specimen=True)
        few = ", ".join(label for label, count in counts.items() if count < _MIN_GROUPS) or "a class"
        note = (
            f"Split by recording: there are fewer than {_MIN_GROUPS} specimens of {few}, so scores say nothing "
            "about a specimen that was never seen."
        )
    return _build_split(entries, parts, "recording", note)


def _group(entries: Sequence[Recording], *, by_specimen: bool) -> list[Group]:
    """Group recordings that must stay together: one specimen's, one name's, and copies of each other."""
    # Union-find: a recording may be a copy of one and a segment of another.
    parent = list(range(len(entries)))

    def find_root(index: int) -> int:
        while parent[index] != index:
            index = parent[index]
        return index

    first: dict[tuple[str, str | None], int] = {}
    for index, entry in enumerate(entries):
        # Segments of one file with equal marks are called name, name~2, name~3.
        keys = [("sha256", entry.sha256), ("name", entry.recording.partition("~")[0])]
        for key in [*keys, ("specimen", entry.specimen)] if by_specimen else keys:
            parent[find_root(index)] = find_root(first.setdefault(key, index))
    groups: dict[int, Group] = defaultdict(list)
    for index in range(len(entries)):
        groups[find_root(index)].append(index)
    return list(groups.values())


def _assign_groups(entries: Sequence[Recording], seed: int, *, by_specimen: bool) -> Parts | None:
    """Return groups for each part, every class in each; None where that is impossible."""
    groups = _group(entries, by_specimen=by_specimen)

    def rank(group: Group) -> str:
        # By name and not by position, so that added recordings do not shuffle the others. Where recordings are
        # split, a specimen's name would put all of its recordings side by side, and mostly into one part.
        names = [entries[index].specimen if by_specimen else entries[index].recording for index in group]
        name = min(str(name) for name in names)
        return hashlib.sha256(f"{seed} {name}".encode()).hexdigest()

    ordered = sorted(groups, key=rank)
    labels = [{str(entries[index].label) for index in group} for group in ordered]
    total = Counter(label for group_labels in labels for label in group_labels)
    wanted = {label: max(1, round(HELD_OUT_SHARE * count)) for label, count in total.items()}
    free = dict(enumerate(ordered))
    held_out = []
    # The test takes its share first and leaves two groups of each class, the validation part one.
    for reserve in (2, 1):
        chosen: Counter[str] = Counter()
        part = []
        for number in list(free):
            left = Counter(label for rest in free if rest != number for label in labels[rest])
            is_wanted = any(chosen[label] < wanted[label] for label in labels[number])
            if is_wanted and all(left[label] >= reserve for label in labels[number]):
                chosen.update(labels[number])
                part.append(free.pop(number))
        if set(chosen) != set(total):
            return None
        held_out.append(part)
    if {label for number in free for label in labels[number]} != set(total):
        return None
    return list(free.values()), held_out[1], held_out[0]


def _build_split(entries: Sequence[Recording], parts: Parts, by: str, note: str = "") -> RecordingSplit:
    indices = [sorted(index for group in part for index in group) for part in parts]
    if by == "recording":
        covered, method = [to_intervals(part) for part in indices], "recording"
    else:
        numbers = {tuple(group): n for n, group in enumerate(sorted(g for part in parts for g in part))}
        covered = [to_intervals(numbers[tuple(group)] for group in part) for part in parts]
        method = "unit"
    certificate = SplitCertificate(by, method, covered[0], covered[1], covered[2])
    return RecordingSplit(indices[0], indices[1], indices[2], certificate, by, note)


def _count_groups(entries: Sequence[Recording], *, by_specimen: bool) -> dict[str, int]:
    groups = _group(entries, by_specimen=by_specimen)
    counts = Counter(label for group in groups for label in {str(entries[index].label) for index in group})
    return dict(sorted(counts.items()))


def _too_few(entries: Sequence[Recording], *, by_specimen: bool) -> NotEnoughData:
    unit = "specimens" if by_specimen else "recordings"
    counts = _count_groups(entries, by_specimen=by_specimen).items()
    return NotEnoughData(
        f"Every class needs {_MIN_GROUPS} {unit} or more that share nothing, for training, validation and test; "
        f"there are: {', '.join(f'{label} {count}' for label, count in counts)}",
        needed=_MIN_GROUPS,
    )
