"""The example of the forecasting family for the contract suite."""

from __future__ import annotations

import io

from prediction.contract import ModelKey
from storage.container import Storage
from storage.datasets.store import DatasetStore
from tests.contract.examples import ContractExample
from tests.prediction.forecasting.conftest import hourly_csv


def forecasting(storage: Storage) -> ContractExample:
    text = hourly_csv(400)
    store = DatasetStore(storage.settings.data_dir / "datasets")
    dataset = store.receive(io.BytesIO(text.encode()), "plant.csv").id
    options = {
        "dataset": dataset,
        "target_columns": ["oil"],
        "window_size": 24,
        "future_steps": 6,
        "hidden_size": 8,
        "architecture": "NLinear",
        "epochs": 2,
    }
    header, *lines = text.splitlines()
    rows = [dict(zip(header.split(","), line.split(","), strict=True)) for line in lines[-30:]]
    return ContractExample(
        ModelKey("forecasting", "line-1"), inputs={"rows": rows}, wrong_inputs={"rows": []}, options=options
    )


EXAMPLES = {"forecasting": forecasting}
