"""Encode reports as the model reads them: sketch, words and groups, without their scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from prediction.scoring.features.text_hashing import (
    MAX_WORDS,
    SKETCH_WIDTH,
    compute_sketches,
    hash_strings,
    hash_words,
    normalize_text,
)

# Raised with every change of this module or of ``text_hashing``: encodings in the cache carry it.
FORMAT = 2

NAME_WIDTH = 128

# What a report shares with earlier ones; the order is that of the columns of ``groups``.
GROUPS = (
    ("owner_section",),
    ("system",),
    ("system", "owner_section"),
    ("equipment_name",),
    ("equipment_id",),
    ("equipment_id", "owner_section"),
)

SECTION, SYSTEM, SYSTEM_SECTION, NAME, EQUIPMENT, EQUIPMENT_SECTION = range(len(GROUPS))

TEXT_FIELDS = ("description", "equipment_name", "equipment_id", "system", "owner_section")

# One report, 944 bytes: sketch of its text, sketch of the equipment's name, words, groups.
#
# Unused entries of ``words`` are 0, and so is the group of a blank field.
ENCODED = np.dtype(
    [
        ("sketch", np.int8, (SKETCH_WIDTH,)),
        ("name", np.int8, (NAME_WIDTH,)),
        ("words", np.uint32, (MAX_WORDS,)),
        ("groups", np.uint64, (len(GROUPS),)),
    ]
)

Encoded = NDArray[np.void]
Report = Mapping[str, object]


def encode_reports(reports: Sequence[Report]) -> Encoded:
    """Return reports as an array of ``ENCODED``; a missing text field counts as blank."""
    encoded = np.zeros(len(reports), ENCODED)
    descriptions = [str(report.get("description") or "") for report in reports]
    encoded["sketch"] = compute_sketches(descriptions)
    encoded["name"] = compute_sketches(
        [str(report.get("equipment_name") or "") for report in reports], NAME_WIDTH
    )
    for row, hashes in enumerate(hash_words(descriptions)):
        encoded["words"][row, : len(hashes)] = hashes
    encoded["groups"] = hash_groups(reports)
    return encoded


def hash_groups(reports: Sequence[Report]) -> NDArray[np.uint64]:
    """Return the hash of each group that a report belongs to, shape (reports, 6)."""
    columns = []
    for fields in GROUPS:
        names = []
        for report in reports:
            parts = [normalize_text(str(report.get(field) or "")) for field in fields]
            # The name of a group is blank as soon as one of its parts is.
            names.append("\0".join((*fields, *parts)) if all(parts) else "")
        columns.append(hash_strings(names))
    return np.stack(columns, axis=1)
