"""Tables whose columns their sender names, and tables with a column for each tag."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from errors import InvalidContent, InvalidRecords
from prediction.records.fields import FieldError, is_empty
from prediction.records.parsing import NumberedRecord

# Other names that a field is read from; of a record that has a value under two of them, one would be lost.
ALIASES: Final[Mapping[str, tuple[str, ...]]] = {
    "sensor_id": ("sensor", "tag"),
    "device_id": ("device",),
    "event_time": ("timestamp",),
}


@dataclass(frozen=True)
class ColumnNames:
    """What the columns of a table are called, where that is not what this project calls them.

    Parameters
    ----------
    time, tag, value, channel : str, optional
        The columns of the time, of the sensor or device, of the value, and of the channel that has this value.
    is_wide : bool
        Whether each column but that of the time is a tag, and each cell a value of it.

    Raises
    ------
    InvalidContent
        The columns of a wide table's tags or values are named: it has none.
    """

    time: str | None = None
    tag: str | None = None
    value: str | None = None
    channel: str | None = None
    is_wide: bool = False

    def __post_init__(self) -> None:
        """Check that the names fit together."""
        if self.is_wide and (self.tag is not None or self.value is not None):
            raise InvalidContent(
                "In a wide table each column but that of the time is a tag: leave out the names of a tag column and a "
                "value column, or read it as a long table, without wide"
            )

    def rename(
        self,
        records: Iterable[NumberedRecord],
        *,
        time: str = "timestamp",
        tag: str = "sensor_id",
        value: str = "raw_value",
        channel: str = "channel",
        is_single: bool = False,
    ) -> Iterator[NumberedRecord]:
        """Yield records under the names of the schema; rows of a wide table become a record for each cell.

        Parameters
        ----------
        is_single : bool
            Whether this is a single record, which may leave its time out.

        Raises
        ------
        InvalidRecords
            No record has a column that the sender names, a row of a wide table has no column of the time, or a wide
            table has the columns of a long one.
        """
        names = {self.time: time, self.tag: tag, self.value: value, self.channel: channel}
        renamed = {own: target for own, target in names.items() if own is not None}
        missing = dict(renamed)
        seen: dict[str, None] = {}
        for number, record in records:
            if not isinstance(record, dict):
                yield number, record
                continue
            if missing:
                seen |= dict.fromkeys(record)
                missing = {own: target for own, target in missing.items() if own not in record}
            row = _rename_fields(record, renamed) if renamed else record
            if self.is_wide:
                if tag in row and value in row:
                    message = (
                        f"a wide table has a column for each tag, this one has {tag} and {value}: "
                        "read it as a long table, without wide"
                    )
                    raise InvalidRecords(
                        [FieldError(tag, "ambiguous", None, message).to_dict(number)], wrong=1
                    )
                if time not in row and self.time is None and not is_single:
                    message = (
                        f"{time} is missing, there is: {', '.join(row)[:300] or 'nothing'}; "
                        "time_column names the column of the times"
                    )
                    raise InvalidRecords(
                        [FieldError(time, "missing_column", None, message).to_dict(number)], wrong=1
                    )
                yield from _split_row(number, row, time, tag, value)
            else:
                yield number, row
        if missing and seen:
            (own, target), *_ = missing.items()
            message = f"there is no column {own!r} for {target}, there is: {', '.join(seen)[:300]}"
            raise InvalidRecords([FieldError(target, "missing_column", None, message).to_dict(None)], wrong=1)


def _rename_fields(record: Mapping[str, object], renamed: Mapping[str, str]) -> dict[str, object]:
    # A column that has one of the target's names by chance gives way to the one that the sender names.
    named = {target for own, target in renamed.items() if own in record}
    hidden = named.union(*(ALIASES.get(target, ()) for target in named)) - renamed.keys()
    return {renamed.get(name, name): cell for name, cell in record.items() if name not in hidden}


def _split_row(
    number: int, row: Mapping[str, object], time: str, tag: str, value: str
) -> Iterator[NumberedRecord]:
    at = {time: row[time]} if time in row else {}
    for name, cell in row.items():
        if name != time and not is_empty(cell):
            yield number, {**at, tag: name, value: cell}
