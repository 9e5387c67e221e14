"""The example of the damage family for the contract suite."""

from __future__ import annotations

import io

from prediction.contract import ModelKey
from storage.container import Storage
from storage.datasets.store import DatasetStore
from tests.contract.examples import ContractExample
from tests.prediction.damage.conftest import KINDS, SMALL, archive, recording


def damage(storage: Storage) -> ContractExample:
    store = DatasetStore(storage.settings.data_dir / "datasets")
    dataset = store.receive(io.BytesIO(archive(6)), "plant.zip").id
    options = {"dataset": dataset, **SMALL, "epochs": 3}
    inputs = [
        {"samples": recording(kind, seed=90)[:1000].tolist(), "sampling_rate_hz": 1000} for kind in KINDS
    ]
    return ContractExample(
        ModelKey("damage", "fan"), inputs=inputs, wrong_inputs={"samples": ["x"]}, options=options
    )


EXAMPLES = {"damage": damage}
