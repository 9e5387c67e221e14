"""Stored features of windows or hours: one Parquet file for each device and version, updated incrementally."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from prediction.rul.features.window_features import (
    FEATURES,
    bucket_width,
    hourly_features,
    window_ends,
    window_features,
)
from storage.devices.telemetry import DeviceTelemetry
from storage.filesystem.checked_write import write_atomic
from storage.filesystem.files import remove_tree

FORMAT: Final = 1
_METADATA: Final = b"millwright"


@dataclass(frozen=True)
class FeatureVersion:
    """The definition of features: another window, stride or rate is another version, in its own folder.

    Parameters
    ----------
    hours : float, optional
        Features of every bucket of so many hours instead of windows.
    """

    window: int = 50
    stride: int = 10
    sampling_rate_hz: float = 10.0
    hours: float | None = None

    @property
    def name(self) -> str:
        """The folder's name: readable sizes and a hash of the whole definition."""
        definition = json.dumps([FORMAT, FEATURES, asdict(self)], sort_keys=True)
        size = f"w{self.window}-s{self.stride}" if self.hours is None else f"h{self.hours:g}"
        return f"{size}-{hashlib.sha256(definition.encode()).hexdigest()[:10]}"

    def times(self, telemetry: DeviceTelemetry) -> NDArray[np.int64]:
        """Return the end of each window or the start of each bucket, in microseconds since 1970."""
        if self.hours is None:
            return telemetry.times[window_ends(len(telemetry), self.window, self.stride)]
        width = bucket_width(self.hours)
        return np.unique(telemetry.times // width) * width

    def compute(self, telemetry: DeviceTelemetry, skip: int) -> NDArray[np.float64]:
        """Compute the features of all windows, or buckets, but the first ``skip``."""
        if self.hours is None:
            ends = window_ends(len(telemetry), self.window, self.stride)[skip:]
            return window_features(telemetry.values, ends, self.window, self.sampling_rate_hz)
        starts = self.times(telemetry)[skip:]
        first = np.searchsorted(telemetry.times, starts[0]) if len(starts) else len(telemetry)
        rows = telemetry.times[first:], telemetry.values[first:]
        return hourly_features(*rows, self.hours, self.sampling_rate_hz)[1]

    def count_final(self, rows: int, stored: int) -> int:
        """Return how many of the stored features stay valid when rows come after the first ``rows``."""
        if self.hours is not None:
            return max(stored - 1, 0)
        return max((rows - self.window) // self.stride + 1, 0)


@dataclass(frozen=True)
class FeatureUpdate:
    """The result of an update: the file, its windows, and how many of them had to be computed."""

    path: Path
    windows: int
    computed: int


class FeatureStore:
    """Features of one tenant's devices below a folder of derived data, which may be deleted at any time."""

    def __init__(self, folder: Path, version: FeatureVersion) -> None:
        self.folder = folder / version.name
        self.version = version

    def path(self, device_id: str) -> Path:
        """Return the device's file. Its name is a hash, as a device's name may contain anything."""
        return self.folder / f"{hashlib.sha256(device_id.encode()).hexdigest()[:24]}.parquet"

    def update(self, telemetry: DeviceTelemetry) -> FeatureUpdate:
        """Bring a device's file up to date with all of its rows.

        Stored windows stay valid while the rows below them are the same. The last one, which may end before
        its stride is full, is computed again when rows have come.
        """
        path, times = self.path(telemetry.device_id), self.version.times(telemetry)
        if not len(times):  # fewer rows than a window
            path.unlink(missing_ok=True)
            return FeatureUpdate(path, 0, 0)
        stored = self._read_valid(path, telemetry)
        reused = min(len(stored), len(times))
        new = self.version.compute(telemetry, reused)
        if len(new) or not path.exists():
            self._write(path, telemetry, times, np.concatenate([stored[:reused], new]))
        return FeatureUpdate(path, len(times), len(new))

    def read(self, device_id: str) -> tuple[NDArray[np.int64], list[str], NDArray[np.float64]]:
        """Return times (see :class:`FeatureVersion`), column names, features of shape (windows, columns)."""
        import pyarrow.parquet as pq

        table = pq.read_table(self.path(device_id))
        names = [name for name in table.column_names if name != "timestamp"]
        values = np.stack([table[name].to_numpy() for name in names], axis=1)
        return table["timestamp"].to_numpy(), names, values

    def delete_others(self, keep: Sequence[str] = ()) -> None:
        """Delete the files of all devices but these."""
        paths = {self.path(device) for device in keep}
        for path in self.folder.glob("*.parquet"):
            if path not in paths:
                remove_tree(path)

    def _read_valid(self, path: Path, telemetry: DeviceTelemetry) -> NDArray[np.float64]:
        """Return the stored windows whose rows have not changed."""
        nothing = np.empty((0, len(telemetry.channels), len(FEATURES)))
        if not path.exists():
            return nothing
        import pyarrow.parquet as pq

        metadata = json.loads(pq.read_schema(path).metadata[_METADATA])
        rows = metadata["rows"]
        if metadata["channels"] != list(telemetry.channels) or rows > len(telemetry):
            return nothing
        if metadata["sha256"] != _hash_rows(telemetry, rows):
            return nothing
        _, _, values = self.read(telemetry.device_id)
        is_current = rows == len(telemetry)
        final = len(values) if is_current else self.version.count_final(rows, len(values))
        return values[:final].reshape(-1, len(telemetry.channels), len(FEATURES))

    def _write(
        self, path: Path, telemetry: DeviceTelemetry, times: NDArray[np.int64], features: NDArray[np.float64]
    ) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        names = [f"{channel}.{name}" for channel in telemetry.channels for name in FEATURES]
        columns: dict[str, NDArray[np.generic]] = {"timestamp": times}
        columns |= dict(zip(names, features.reshape(len(times), -1).T, strict=True))
        metadata = {
            "device_id": telemetry.device_id,
            "rows": len(telemetry),
            "channels": list(telemetry.channels),
            "sha256": _hash_rows(telemetry, len(telemetry)),
            "version": asdict(self.version),
        }
        table = pa.table(columns).replace_schema_metadata({_METADATA: json.dumps(metadata)})
        self.folder.mkdir(parents=True, exist_ok=True)
        content = io.BytesIO()
        pq.write_table(table, content)
        write_atomic(path, content.getvalue(), durable=False)


def _hash_rows(telemetry: DeviceTelemetry, rows: int) -> str:
    digest = hashlib.sha256(np.ascontiguousarray(telemetry.times[:rows]).data)
    digest.update(np.ascontiguousarray(telemetry.values[:rows]).data)
    return digest.hexdigest()
