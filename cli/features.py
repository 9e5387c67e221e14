"""``millwright features``: compute features of telemetry as Parquet files.

One file per device below ``data/cache/features``. Windows that are stored already are not computed again; see
docs/rul.md.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from cli.console import CommandGroup, ExitCode, JSONFlag, TenantOption, echo_result, load_local_settings
from prediction.contract import ModelKey
from prediction.rul.features.feature_store import FeatureStore, FeatureVersion
from prediction.telemetry import forward_fill, join_duplicates
from storage.container import open_storage
from storage.devices.telemetry import Telemetry

app = CommandGroup("Compute features of telemetry.")


@app.command()
def compute(
    *,
    tenant: TenantOption = "default",
    device: Annotated[list[str] | None, typer.Option(help="Only this device; may be repeated.")] = None,
    window: Annotated[int, typer.Option(min=2, max=100_000, help="Rows in a window.")] = 50,
    stride: Annotated[int, typer.Option(min=1, help="Rows from one window to the next.")] = 10,
    sampling_rate_hz: Annotated[float, typer.Option(min=1e-9, help="Of the rows, for spectra.")] = 10.0,
    bucket_hours: Annotated[
        float | None, typer.Option(min=1e-6, help="Buckets of so many hours instead of windows.")
    ] = None,
    as_json: JSONFlag = False,
) -> None:
    """Bring the features of every device up to date, one device in memory at a time."""
    settings = load_local_settings()
    version = FeatureVersion(window, stride, sampling_rate_hz, bucket_hours)
    store = FeatureStore(settings.cache_dir / "features" / ModelKey("rul", tenant=tenant).tenant, version)
    telemetry = Telemetry(open_storage(settings).database)
    counts = {"devices": 0, "windows": 0, "computed": 0}
    for recorded in telemetry.stream(tenant, device or None):
        rows = join_duplicates(recorded)
        # A training fills a missing value with the last known one, so features have to do the same.
        updated = store.update(replace(rows, values=forward_fill(rows.values)))
        counts["devices"] += 1
        counts["windows"] += updated.windows
        counts["computed"] += updated.computed
    if not device:
        store.delete_others(keep=telemetry.devices(tenant))
    message = (
        f"Computed {counts['computed']:,} of {counts['windows']:,} windows of {counts['devices']:,} devices; "
        f"all of them are in {store.folder}"
    )
    echo_result(as_json, message, folder=str(store.folder), **counts)
    raise typer.Exit(ExitCode.DONE if counts["computed"] else ExitCode.NOTHING_TO_DO)
