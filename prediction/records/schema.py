"""The fields of records: a table that lacks one is refused at once, and what nobody reads is named.

A record without a time is one of this moment, as a device sends it. In a table that would turn a history
whose column has another name into a heap of readings of now: there every record says when.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Final

from errors import InvalidRecords
from prediction.contract import JSON
from prediction.records.parsing import NumberedRecord
from storage.text.csv_headers import fold_name

Names = tuple[str, ...]
"""The names that a field goes by, the proper one first."""

MAX_NAMED_FIELDS: Final = 100
_LONGEST: Final = 100
_TIMES: Final = frozenset(
    "time date datetime timestamp ts when at moment heure date_heure horodatage jour zeit datum zeitpunkt "
    "zeitstempel fecha hora event_time measured_at recorded_at created_at".replace("_", "").split()
)
"""What people call a time, here and in French, German and Spanish."""
_A_DATE: Final = re.compile(r"\s*\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}")
_ALSO: Final[Mapping[str, Names]] = {
    "sensor_id": ("sensor", "capteur", "sensornumber", "tag", "id"),
    "raw_value": ("value", "valeur", "mesure", "measurement", "reading", "readingvalue", "wert"),
    "device_id": ("device", "equipment", "equipmentid", "equipement", "machine", "asset", "appareil", "id"),
}


@dataclass(frozen=True)
class RecordSchema:
    """The fields of one kind of record.

    Parameters
    ----------
    needed : sequence of tuple of str
        The fields that every record has.
    time : tuple of str
        The one that says when.
    others : frozenset of str
        Fields that may stand there.
    channels : bool
        Whether every other field is a value, too.
    """

    needed: Sequence[Names]
    time: Names
    others: frozenset[str] = frozenset()
    channels: bool = False

    @property
    def known(self) -> frozenset[str]:
        """Every name that is read."""
        return self.others.union(self.time, *self.needed)

    def check(self, sent: Sequence[NumberedRecord], alone: bool) -> None:
        """Look at the fields before the records are read one by one.

        Parameters
        ----------
        alone : bool
            Whether this is a record by itself, which may leave its time out.

        Raises
        ------
        InvalidRecords
            A table has no column for a field, or a record by itself tells its time under another name.
        """
        faults = list(self._doubts(sent)) if alone else self._lacking(sent)
        if faults:
            raise InvalidRecords(faults, wrong=len(faults))

    def ignored(self, sent: Iterable[NumberedRecord]) -> list[str]:
        """The fields that nobody reads, as many as a person does."""
        names = field_names(sent)
        unread = names & {"id"} if self.channels else names - self.known
        return [name[:_LONGEST] for name in sorted(unread)[:MAX_NAMED_FIELDS]]

    def _lacking(self, sent: Sequence[NumberedRecord]) -> list[JSON]:
        there = field_names(sent)
        wanted = [names for names in (*self.needed, self.time) if there and there.isdisjoint(names)]
        return [_missing(names[0], self._candidates(names, sent, there)) for names in wanted]

    def _candidates(
        self, names: Names, sent: Sequence[NumberedRecord], there: set[str]
    ) -> tuple[list[str], str]:
        """The fields of a table, and that which may be meant."""
        first = next(record for _, record in sent if isinstance(record, dict))
        shown = [*first, *sorted(there - set(first))]
        free = [name for name in shown if name not in self.known]
        if names is self.time:
            meant = [name for name in free if _is_time(name) or _has_time(name)]
            meant += [name for name in free if _is_date(first.get(name))]
        else:
            meant = _alike(names[0], free)
        return shown, next(iter(meant), "")

    def _doubts(self, sent: Sequence[NumberedRecord]) -> Iterator[JSON]:
        """A fault for each unknown field that looks like the time of a record which says none."""
        for line, record in sent:
            if not isinstance(record, dict) or any(record.get(name) not in (None, "") for name in self.time):
                continue
            for name in record.keys() - self.known:
                if self._may_be_time(name, record[name]):
                    said = f"{name[:_LONGEST]} looks like its time, which is read from {self.time[0]}"
                    yield _fault(line, name, "unknown_time", f"Record {line}: {said}")

    def _may_be_time(self, name: str, value: Any) -> bool:
        """Whether a field is meant to say when; a channel may have ``time`` in its name."""
        return _is_time(name) or _is_date(value) or (_has_time(name) and not self.channels)


def field_names(sent: Iterable[NumberedRecord]) -> set[str]:
    """The names of all fields of these records."""
    names: set[str] = set()
    for _, record in sent:
        if isinstance(record, dict):
            names.update(record)
    return names


def _missing(name: str, found: tuple[list[str], str]) -> JSON:
    there, meant = found
    shown = ", ".join(there)[:300] or "nothing"
    guess = f"; did you mean {meant!r}?" if meant else ""
    return _fault(None, name, "missing_column", f"{name} is missing, there is: {shown}{guess}")


def _fault(line: int | None, field: str, code: str, message: str) -> JSON:
    return {"record": line, "field": field[:_LONGEST], "code": code, "value": None, "message": message}


def _alike(name: str, free: Sequence[str]) -> list[str]:
    plain = {_plain(other): other for other in reversed(free)}
    wanted = [_plain(name), *_ALSO.get(name, ())]
    exactly = [plain[word] for word in wanted if word in plain]
    return exactly or [plain[word] for word in get_close_matches(wanted[0], plain, 1, 0.7)]


def _is_time(name: str) -> bool:
    plain = _plain(name)
    return plain in _TIMES or bool(get_close_matches(plain, ("timestamp", "eventtime", "datetime"), 1, 0.8))


def _has_time(name: str) -> bool:
    """Whether a word of the name is one of a time, as in ``Date de mesure``."""
    return any(_plain(word) in _TIMES for word in re.split(r"[\W_]+", name))


def _is_date(value: Any) -> bool:
    return isinstance(value, str) and _A_DATE.match(value) is not None


def _plain(name: str) -> str:
    return fold_name(name[:_LONGEST])
