"""Features of telemetry as Parquet files: ``python cli/features.py --window 50 --stride 10``.

A file a device below ``data/cache/features``; what is there already is not computed again. See docs/rul.md.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

if not __package__:
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from cli.console import ExitCode, JSONFlag, application, leave, say, say_json, settings_here, told
from prediction.contract import ModelKey
from prediction.rul.data.validate import drop_duplicates
from prediction.rul.features.feature_store import FeatureStore, FeatureVersion
from prediction.rul.preprocessing.preprocessor import forward_fill
from storage.container import open_storage
from storage.devices.telemetry import DeviceTelemetry, Telemetry

app = application("Compute features of telemetry.")


@app.command()
def main(
    *,
    tenant: Annotated[str, typer.Option(help="Whose devices.")] = "default",
    device: Annotated[list[str] | None, typer.Option(help="Only this one; may be repeated.")] = None,
    window: Annotated[int, typer.Option(min=2, max=100_000, help="Rows in a window.")] = 50,
    stride: Annotated[int, typer.Option(min=1, help="Rows from one window to the next.")] = 10,
    sampling_rate_hz: Annotated[float, typer.Option(min=1e-9, help="Of the rows, for spectra.")] = 10.0,
    hours: Annotated[
        float | None, typer.Option(min=1e-6, help="Buckets of so many hours in place of windows.")
    ] = None,
    as_json: JSONFlag = False,
) -> None:
    """Bring the features of every device up to date, one device in memory at a time."""
    with told(as_json):
        settings = settings_here()
        version = FeatureVersion(window, stride, sampling_rate_hz, hours)
        store = FeatureStore(settings.cache_dir / "features" / ModelKey("rul", tenant=tenant).tenant, version)
        telemetry = Telemetry(open_storage(settings).database)
        counts = {"devices": 0, "windows": 0, "computed": 0}
        for recorded in telemetry.stream(tenant, device or None):
            updated = store.update(_whole(drop_duplicates(recorded)))
            counts["devices"] += 1
            counts["windows"] += updated.windows
            counts["computed"] += updated.computed
        if not device:
            store.forget(keep=telemetry.devices(tenant))
        _tell(counts, store.folder, as_json)
        leave(ExitCode.DONE if counts["computed"] else ExitCode.NOTHING_TO_DO)


def _whole(recorded: DeviceTelemetry) -> DeviceTelemetry:
    """Each missing value is the last that was known, as a training sees it."""
    return replace(recorded, values=forward_fill(recorded.values))


def _tell(counts: dict[str, int], folder: Path, as_json: bool) -> None:
    if as_json:
        say_json({"success": True, "folder": str(folder), **counts})
    else:
        say(
            f"{counts['computed']:,} of {counts['windows']:,} windows of {counts['devices']:,} devices "
            f"computed; all of them are in {folder}"
        )


if __name__ == "__main__":
    app()
