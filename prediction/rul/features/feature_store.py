"""Features of windows or hours kept as Parquet, a file a device and version; only what is new is computed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

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
from storage.filesystem.files import remove_abandoned, remove_tree, storage_errors, temporary_path

FORMAT: Final = 1
_KEPT: Final = b"millwright"


@dataclass(frozen=True)
class FeatureVersion:
    """What the features are: another window, stride or rate is another version, in a folder of its own.

    Parameters
    ----------
    hours : float, optional
        Features of every bucket of so many hours in place of windows.
    """

    window: int = 50
    stride: int = 10
    sampling_rate_hz: float = 10.0
    hours: float | None = None

    @property
    def name(self) -> str:
        """The folder's name: readable sizes and a hash of everything that counts."""
        told = json.dumps([FORMAT, FEATURES, asdict(self)], sort_keys=True)
        size = f"w{self.window}-s{self.stride}" if self.hours is None else f"h{self.hours:g}"
        return f"{size}-{hashlib.sha256(told.encode()).hexdigest()[:10]}"

    def times(self, recorded: DeviceTelemetry) -> NDArray[np.int64]:
        """When each window ends, or each bucket begins; microseconds since 1970."""
        if self.hours is None:
            return recorded.times[window_ends(len(recorded), self.window, self.stride)]
        width = bucket_width(self.hours)
        return np.unique(recorded.times // width) * width

    def computed(self, recorded: DeviceTelemetry, kept: int) -> NDArray[np.float64]:
        """The features of all windows, or buckets, but the first ``kept``."""
        if self.hours is None:
            ends = window_ends(len(recorded), self.window, self.stride)[kept:]
            return window_features(recorded.values, ends, self.window, self.sampling_rate_hz)
        begins = self.times(recorded)[kept:]
        first = np.searchsorted(recorded.times, begins[0]) if len(begins) else len(recorded)
        rows = recorded.times[first:], recorded.values[first:]
        return hourly_features(*rows, self.hours, self.sampling_rate_hz)[1]

    def lasting(self, rows: int, known: int) -> int:
        """How many of the known ones stay as they are when rows come after so many."""
        if self.hours is not None:
            return max(known - 1, 0)
        return max((rows - self.window) // self.stride + 1, 0)


@dataclass(frozen=True)
class FeatureUpdate:
    """What an update did: the file, its windows, and how many of them had to be computed."""

    path: Path
    windows: int
    computed: int


class FeatureStore:
    """Features of one tenant's devices below a folder of derived data, which may be deleted at any time."""

    def __init__(self, folder: Path, version: FeatureVersion) -> None:
        self.folder = folder / version.name
        self.version = version

    def path(self, device_id: str) -> Path:
        """The device's file; its name is a hash, as a device's name may hold anything."""
        return self.folder / f"{hashlib.sha256(device_id.encode()).hexdigest()[:24]}.parquet"

    def update(self, recorded: DeviceTelemetry) -> FeatureUpdate:
        """Bring a device's file up to date with all of its rows.

        Windows that were there stay as they are, while the rows below them are the same; the one at the end,
        where it is not due yet, is computed again when rows have come.
        """
        path, times = self.path(recorded.device_id), self.version.times(recorded)
        if not len(times):  # fewer rows than a window
            path.unlink(missing_ok=True)
            return FeatureUpdate(path, 0, 0)
        known = self._known(path, recorded)
        kept = min(len(known), len(times))
        fresh = self.version.computed(recorded, kept)
        if len(fresh) or not path.exists():
            self._write(path, recorded, times, np.concatenate([known[:kept], fresh]))
        return FeatureUpdate(path, len(times), len(fresh))

    def read(self, device_id: str) -> tuple[NDArray[np.int64], list[str], NDArray[np.float64]]:
        """Times (see :class:`FeatureVersion`), names of columns, features of shape (windows, columns)."""
        import pyarrow.parquet as pq

        table = pq.read_table(self.path(device_id))
        names = [name for name in table.column_names if name != "timestamp"]
        values = np.stack([table[name].to_numpy() for name in names], axis=1)
        return table["timestamp"].to_numpy(), names, values

    def _known(self, path: Path, recorded: DeviceTelemetry) -> NDArray[np.float64]:
        """The regular windows that are there already and hang on rows that have not changed."""
        nothing = np.empty((0, len(recorded.channels), len(FEATURES)))
        if not path.exists():
            return nothing
        import pyarrow.parquet as pq

        told = json.loads(pq.read_schema(path).metadata[_KEPT])
        rows = told["rows"]
        if told["channels"] != list(recorded.channels) or rows > len(recorded):
            return nothing
        if told["sha256"] != _fingerprint(recorded, rows):
            return nothing
        _, _, values = self.read(recorded.device_id)
        lasting = len(values) if rows == len(recorded) else self.version.lasting(rows, len(values))
        return values[:lasting].reshape(-1, len(recorded.channels), len(FEATURES))

    def _write(
        self, path: Path, recorded: DeviceTelemetry, times: NDArray[np.int64], features: NDArray[np.float64]
    ) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        flat = features.reshape(len(times), -1)
        names = [f"{channel}.{name}" for channel in recorded.channels for name in FEATURES]
        columns: dict[str, Any] = {"timestamp": times}
        columns |= {name: flat[:, place] for place, name in enumerate(names)}
        rows = len(recorded)
        about = {
            "device_id": recorded.device_id,
            "rows": rows,
            "channels": list(recorded.channels),
            "sha256": _fingerprint(recorded, rows),
            "version": asdict(self.version),
        }
        table = pa.table(columns).replace_schema_metadata({_KEPT: json.dumps(about)})
        self.folder.mkdir(parents=True, exist_ok=True)
        half = temporary_path(self.folder)
        with storage_errors(path):
            try:
                pq.write_table(table, half)
                half.replace(path)
            finally:
                half.unlink(missing_ok=True)

    def forget(self, keep: Sequence[str] = ()) -> None:
        """Delete the files of all devices but these."""
        remove_abandoned(self.folder)
        kept = {self.path(device) for device in keep}
        for path in self.folder.glob("*.parquet"):
            if path not in kept:
                remove_tree(path)


def _fingerprint(recorded: DeviceTelemetry, rows: int) -> str:
    digest = hashlib.sha256(np.ascontiguousarray(recorded.times[:rows]).data)
    digest.update(np.ascontiguousarray(recorded.values[:rows]).data)
    return digest.hexdigest()
