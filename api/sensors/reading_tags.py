"""Tags in readings: the numbers of their sensors, and what happens to those that no sensor has."""

from __future__ import annotations

from collections.abc import Sequence, Set

import numpy as np

from api.http.context import manager
from api.sensors.context import tenant
from prediction.sensors.readings.reading_records import OnUnknown, explain_unusable_tag
from storage.sensors.reading_block import ReadingBlock
from storage.sensors.waiting_readings import UnknownReadings


class TagNumbers:
    """The numbers that stand for tags while readings are checked.

    Unknown tags get negative numbers, so that nothing is created or queued for a body that is refused.

    Attributes
    ----------
    numbers : mapping of str to int
        By tag; unknown tags only where they are not refused.
    unknown : mapping of int to str
        The tags of the negative numbers.
    created : mapping of int to str
        The tags of the sensors that `settle` has made, by their numbers.
    warnings : list of str
        Of earlier readings that wait for the tags of these sensors, and could not be stored.
    """

    def __init__(self, tags: Set[str], on_unknown: str) -> None:
        self.numbers = manager().sensors.sensors.find_tags(tenant(), tags) if tags else {}
        self.unknown: dict[int, str] = {}
        self.created: dict[int, str] = {}
        self.warnings: Sequence[str] = ()
        self._on_unknown = on_unknown
        if on_unknown != OnUnknown.REFUSE:
            usable = [tag for tag in tags - self.numbers.keys() if explain_unusable_tag(tag) is None]
            self.unknown = {-number: tag for number, tag in enumerate(sorted(usable), 1)}
            self.numbers |= {tag: number for number, tag in self.unknown.items()}

    def settle(self, block: ReadingBlock) -> tuple[ReadingBlock, UnknownReadings | None]:
        """Create sensors for unknown tags, or return their readings, which are to wait, apart from the others."""
        is_unknown = block.sensors < 0
        numbers = np.unique(block.sensors[is_unknown]).tolist()
        if not numbers:
            return block, None
        if self._on_unknown == OnUnknown.CREATE:
            rows = [{"name": self.unknown[n], "type": "Other", "tag": self.unknown[n]} for n in numbers]
            ids = dict(zip(numbers, manager().sensors.sensors.create(tenant(), rows), strict=True))
            sensors = np.array([ids.get(number, number) for number in block.sensors.tolist()], np.int64)
            self.created = {ids[number]: self.unknown[number] for number in numbers}
            self.warnings = (
                manager().sensors.waiting.adopt_registered(tenant(), set(self.unknown.values())).warnings
            )
            return ReadingBlock(sensors, block.times, block.values), None
        waiting = block.select(is_unknown)
        tags = [self.unknown[number] for number in waiting.sensors.tolist()]
        return block.select(~is_unknown), UnknownReadings(tags, waiting)
