"""One asset, one page: what every source says of a piece of equipment, and where the sources disagree."""

from __future__ import annotations

from flask import render_template
from marshmallow import fields, validate

from api.http.context import identity, manager
from api.http.resource import Query
from dashboard.asset import MAX_REPORTS, read_asset
from dashboard.resource import HTML, FormQuery, Pages
from storage.anomaly_reports.reports import SCORES

assets = Pages("asset pages", "Everything of one asset, for people.")

# Devices that are offered as long as no asset is named.
MAX_OFFERED = 100


class AssetQuery(FormQuery):
    """Which asset is shown. Its number may hold any sign, slashes too, so it is no part of a path."""

    id = fields.String(validate=validate.Length(1, 200))


@assets.operation("/assets", HTML, query=AssetQuery)
def get_asset(query: Query) -> str:
    """Show one asset; without its number, ask for it."""
    name = query.get("id", "").strip()
    asset = read_asset(name) if name else None
    return render_template(
        "assets/asset.html",
        name=name,
        asset=asset,
        events=asset.list_events() if asset else [],
        disagreements=asset.list_disagreements() if asset else [],
        scores=SCORES,
        max_reports=MAX_REPORTS,
        offered=[] if asset else manager().devices.telemetry.devices(identity().tenant)[:MAX_OFFERED],
    )
