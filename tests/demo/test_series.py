"""The demo series are the same at every run, sound, and worth forecasting."""

from __future__ import annotations

import io

import pytest

from demo.series import KINDS, csv_text
from storage.datasets.store import DatasetStore


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_series_is_sound_and_always_the_same(kind, tmp_path):
    text = csv_text(kind, 800)
    assert text == csv_text(kind, 800)
    facts = DatasetStore(tmp_path).receive(io.BytesIO(text.encode()), "demo.csv").facts
    assert (facts["rows"], facts["frequency_seconds"], facts["findings"]) == (800, 3600, [])
    assert tuple(facts["numeric"]) == KINDS[kind][1]


def test_the_pump_wears_and_is_maintained(tmp_path):
    table = DatasetStore(tmp_path).receive(io.BytesIO(csv_text("degradation").encode()), "pump.csv").table()
    worn = table.values[:, table.columns.index("degradation")]
    assert {"degradation", "temperature_estimated", "time_since_last_maintenance"} <= set(table.columns)
    assert worn[:500].min() < 0.05
    assert worn[:620].max() > 0.4
    assert (worn[1:] < worn[:-1] - 0.2).sum() >= 3
