"""Fields of records: a table that lacks a required column is refused at once, unread columns are reported.

A single record without a time is of this moment, as a device sends it. In a table that rule would turn a
history whose time column has an unknown name into readings of now, so every row of a table needs its time.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final

from errors import InvalidRecords
from prediction.records.fields import FieldError, RecordFault, is_empty
from prediction.records.parsing import NumberedRecord
from storage.text.csv_headers import fold_name, has_time_word, is_time_word, is_unnamed

# The names that a field goes by, the proper one first.
Names = tuple[str, ...]

MAX_NAMED_FIELDS: Final = 100
_MAX_NAME_LENGTH: Final = 100
_DATE: Final = re.compile(r"\s*\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}")
# Beside words for a time, what a name such as epoch_ms or time_utc may have.
_TIME_UNITS: Final = frozenset({"s", "sec", "seconds", "ms", "us", "ns", "utc", "local"})
_EPOCHS: Final = frozenset({"epoch", "unix"})
_WORD_ENDS: Final = re.compile(r"[\W_]+")
_SYNONYMS: Final[Mapping[str, Names]] = {
    "sensor_id": ("sensor", "capteur", "sensornumber", "tag", "id"),
    "raw_value": ("value", "valeur", "mesure", "measurement", "reading", "readingvalue", "wert"),
    "value": ("rawvalue", "valeur", "mesure", "measurement", "reading", "wert"),
    "channel": ("tag", "signal", "variable", "parameter", "metric", "sensor", "name"),
    "device_id": ("device", "equipment", "equipmentid", "equipement", "machine", "asset", "appareil", "id"),
}


@dataclass(frozen=True)
class RecordSchema:
    """The fields of one kind of record.

    Parameters
    ----------
    required : sequence of tuple of str
        The fields that every record has.
    time : tuple of str
        The time of the record.
    optional : frozenset of str
        Further fields that are read.
    has_channels : bool
        Whether every other field is a value, too.
    """

    required: Sequence[Names]
    time: Names
    optional: frozenset[str] = frozenset()
    has_channels: bool = False

    @property
    def names(self) -> frozenset[str]:
        """Every name that is read."""
        return self.optional.union(self.time, *self.required)

    def check(self, records: Sequence[NumberedRecord], is_single: bool) -> None:
        """Check the names of fields before the records are read one by one.

        Parameters
        ----------
        is_single : bool
            Whether this is a single record, which may leave its time out.

        Raises
        ------
        InvalidRecords
            A table lacks a column, a record has two values for one field, or a single record has its time under an
            unknown name.
        """
        faults = self._unnamed_channels(records) or self._doubled_fields(records)
        if not faults:
            faults = list(self._misnamed_times(records)) if is_single else self._missing_columns(records)
        if faults:
            raise InvalidRecords(faults, wrong=len(faults))

    def ignored(self, records: Iterable[NumberedRecord]) -> list[str]:
        """Return the names of unread fields, at most a hundred."""
        names = field_names(records)
        unread = names & {"id"} if self.has_channels else names - self.names
        return [name[:_MAX_NAME_LENGTH] for name in sorted(unread)[:MAX_NAMED_FIELDS]]

    def _unnamed_channels(self, records: Sequence[NumberedRecord]) -> list[RecordFault]:
        """Return a fault for each value whose name only says that its column has none."""
        if not self.has_channels:
            return []
        message = "is a column without a name of its own: give it one, or leave it out"
        return [
            FieldError(name, "unnamed", None, f"{name!r} {message}").to_dict(None)
            for name in sorted(filter(is_unnamed, field_names(records) - {""}))
        ]

    def _doubled_fields(self, records: Sequence[NumberedRecord]) -> list[RecordFault]:
        """Return a fault for each field that a record has under two names with different values."""
        present = field_names(records)
        doubled = [
            aliases
            for names in (*self.required, self.time)
            if len(aliases := [name for name in names if name in present]) > 1
        ]
        faults = []
        for aliases in doubled:
            for line, record in records:
                if not isinstance(record, dict):
                    continue
                cells = {name: record[name] for name in aliases if not is_empty(record.get(name))}
                if len({str(cell).strip() for cell in cells.values()}) > 1:
                    values = " and ".join(f"{name} ({str(cell)[:50]})" for name, cell in cells.items())
                    message = f"{values} are two values of one field: leave one out"
                    faults.append(FieldError(aliases[1], "ambiguous", None, message).to_dict(line))
                    break
        return faults

    def _missing_columns(self, records: Sequence[NumberedRecord]) -> list[RecordFault]:
        present = field_names(records)
        if not present:
            return []
        first = next(record for _, record in records if isinstance(record, dict))
        columns = [*first, *sorted(present - set(first))]
        faults = []
        for names in (*self.required, self.time):
            if present.isdisjoint(names):
                candidates = self._candidates(
                    names, [name for name in columns if name not in self.names], first
                )
                hint = f"; did you mean {candidates[0]!r}?" if candidates else ""
                message = f"{names[0]} is missing, there is: {', '.join(columns)[:300] or 'nothing'}{hint}"
                faults.append(FieldError(names[0], "missing_column", None, message).to_dict(None))
        return faults

    def _candidates(self, names: Names, unknown: Sequence[str], first: Mapping[str, object]) -> list[str]:
        """Return the unknown columns that may be meant by a missing field, the likeliest first."""
        if names is self.time:
            by_name = [name for name in unknown if _is_time_name(name) or has_time_word(name)]
            return by_name + [name for name in unknown if _is_date(first.get(name))]
        folded_names = {_fold(name): name for name in reversed(unknown)}
        wanted = [_fold(names[0]), *_SYNONYMS.get(names[0], ())]
        exact = [folded_names[word] for word in wanted if word in folded_names]
        return exact or [folded_names[word] for word in get_close_matches(wanted[0], folded_names, 1, 0.7)]

    def _misnamed_times(self, records: Sequence[NumberedRecord]) -> Iterator[RecordFault]:
        """Yield a fault for each unknown field that looks like the time of a record without one."""
        for line, record in records:
            if not isinstance(record, dict) or any(record.get(name) not in (None, "") for name in self.time):
                continue
            for name in record.keys() - self.names:
                if record[name] is None:
                    continue
                # A channel may have "time" in its name, so there only the whole name counts.
                is_time = _is_time_name(name) or (has_time_word(name) and not self.has_channels)
                if is_time or _is_date(record[name]):
                    message = (
                        f"{name[:_MAX_NAME_LENGTH]} looks like its time, which is read from {self.time[0]}"
                    )
                    yield FieldError(name[:_MAX_NAME_LENGTH], "unknown_time", None, message).to_dict(line)


def field_names(records: Iterable[NumberedRecord]) -> set[str]:
    """Return the names of all fields of these records."""
    names: set[str] = set()
    for _, record in records:
        if isinstance(record, dict):
            names.update(record)
    return names


def _is_time_name(name: str) -> bool:
    words = {fold_name(word) for word in _WORD_ENDS.split(name[:_MAX_NAME_LENGTH]) if word}
    moments = {word for word in words if word in _EPOCHS or is_time_word(word)}
    if moments and words <= moments | _TIME_UNITS:
        return True
    return is_time_word(name[:_MAX_NAME_LENGTH]) or bool(
        get_close_matches(_fold(name), ("timestamp", "eventtime", "datetime"), 1, 0.8)
    )


def _is_date(value: object) -> bool:
    return isinstance(value, str) and _DATE.match(value) is not None


def _fold(name: str) -> str:
    return fold_name(name[:_MAX_NAME_LENGTH])
