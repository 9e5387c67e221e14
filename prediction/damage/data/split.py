"""Which recordings are for training, validation and test: by specimen where known, and copies together."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from errors import NotEnoughData
from prediction.splits import SplitCertificate, to_intervals
from storage.datasets.recordings.collection import Recording

HELD_OUT_SHARE = 0.2
"""A fifth of a class's specimens (or recordings) is for the test, a fifth for validation."""
_FEWEST = 3
Group = list[int]


@dataclass(frozen=True)
class RecordingSplit:
    """Places of recordings by part.

    Parameters
    ----------
    by : str
        ``"specimen"`` or ``"recording"``.
    note : str
        Why it was not split by specimen although specimens are known; empty where all is well.
    """

    train: list[int]
    validation: list[int]
    test: list[int]
    certificate: SplitCertificate
    by: str
    note: str = ""


def split_recordings(entries: Sequence[Recording], asked: str = "auto", seed: int = 42) -> RecordingSplit:
    """Split labelled recordings; which group goes where hangs on its name and the seed only.

    Raises
    ------
    NotEnoughData
        A class has fewer than three groups, so a part would lack it.
    """
    known = all(entry.specimen for entry in entries)
    if asked == "specimen" and not known:
        nameless = sum(not entry.specimen for entry in entries)
        raise NotEnoughData(
            f"{nameless} recordings name no specimen: ask for split_by recording, or name them"
        )
    if known and asked != "recording":
        found = _assigned(entries, _groups(entries, by_specimen=True), seed)
        if found is not None:
            return _split(entries, found, "specimen")
        if asked == "specimen":
            raise _too_few(entries, by_specimen=True)
    found = _assigned(entries, _groups(entries, by_specimen=False), seed)
    if found is None:
        raise _too_few(entries, by_specimen=False)
    note = "" if asked == "recording" or not known else _note(entries)
    return _split(entries, found, "recording", note)


def _groups(entries: Sequence[Recording], *, by_specimen: bool) -> list[Group]:
    """Places of recordings that must stay together: one specimen's, one name's, and copies of each other."""
    parent = list(range(len(entries)))

    def root(place: int) -> int:
        while parent[place] != place:
            place = parent[place]
        return place

    seen: dict[tuple[str, str | None], int] = {}
    for place, entry in enumerate(entries):
        name = entry.recording.partition("~")[0]
        marks = [("sha256", entry.sha256), ("name", name)]
        for mark in [*marks, ("specimen", entry.specimen)] if by_specimen else marks:
            parent[root(place)] = root(seen.setdefault(mark, place))
    found: dict[int, Group] = defaultdict(list)
    for place in range(len(entries)):
        found[root(place)].append(place)
    return list(found.values())


def _assigned(
    entries: Sequence[Recording], groups: list[Group], seed: int
) -> tuple[list[Group], list[Group], list[Group]] | None:
    """Groups for training, validation and test, every class in each; None where that cannot be."""
    order = sorted(groups, key=lambda group: _rank(entries, group, seed))
    labels = [{str(entries[place].label) for place in group} for group in order]
    total = Counter(label for held in labels for label in held)
    wanted = {label: max(1, round(HELD_OUT_SHARE * count)) for label, count in total.items()}
    free = dict(enumerate(order))
    parts = []
    for reserve in (2, 1):
        chosen: Counter[str] = Counter()
        part = []
        for place in list(free):
            left = Counter(label for other in free if other != place for label in labels[other])
            helps = any(chosen[label] < wanted[label] for label in labels[place])
            if helps and all(left[label] >= reserve for label in labels[place]):
                chosen.update(labels[place])
                part.append(free.pop(place))
        if set(chosen) != set(total):
            return None
        parts.append(part)
    if {label for place in free for label in labels[place]} != set(total):
        return None
    return list(free.values()), parts[1], parts[0]


def _rank(entries: Sequence[Recording], group: Group, seed: int) -> str:
    """Stable when recordings are added: the same group is held out again."""
    name = min(entries[place].specimen or entries[place].recording for place in group)
    return hashlib.sha256(f"{seed} {name}".encode()).hexdigest()


def _split(
    entries: Sequence[Recording], found: tuple[list[Group], list[Group], list[Group]], by: str, note: str = ""
) -> RecordingSplit:
    order = sorted(group for part in found for group in part)
    ids = {tuple(group): number for number, group in enumerate(order)}
    if by == "recording":
        covered = [to_intervals(place for group in part for place in group) for part in found]
    else:
        covered = [to_intervals(ids[tuple(group)] for group in part) for part in found]
    method = {"specimen": "unit", "recording": "recording"}[by]
    certificate = SplitCertificate(by, method, covered[0], covered[1], covered[2])
    places = [sorted(place for group in part for place in group) for part in found]
    return RecordingSplit(places[0], places[1], places[2], certificate, by, note)


def _counts(entries: Sequence[Recording], *, by_specimen: bool) -> dict[str, int]:
    groups = _groups(entries, by_specimen=by_specimen)
    counts = Counter(label for group in groups for label in {str(entries[place].label) for place in group})
    return dict(sorted(counts.items()))


def _too_few(entries: Sequence[Recording], *, by_specimen: bool) -> NotEnoughData:
    word = "specimens" if by_specimen else "recordings"
    told = ", ".join(f"{label} {n}" for label, n in _counts(entries, by_specimen=by_specimen).items())
    return NotEnoughData(
        f"Every class needs {_FEWEST} {word} or more that share nothing, for training, validation and test; "
        f"there are: {told}",
        needed=_FEWEST,
    )


def _note(entries: Sequence[Recording]) -> str:
    few = [label for label, count in _counts(entries, by_specimen=True).items() if count < _FEWEST]
    return (
        f"Split by recording: there are fewer than {_FEWEST} specimens of {', '.join(few) or 'a class'}, so "
        "scores say nothing about a specimen that was never seen."
    )
