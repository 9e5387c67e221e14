"""The example of the family for remaining useful life for the contract suite."""

from __future__ import annotations

from prediction.contract import ModelKey
from storage.container import Storage
from tests.contract.examples import ContractExample
from tests.prediction.rul.conftest import SMALL as SMALL_FLEET
from tests.prediction.rul.conftest import fill_fleet


def rul(storage: Storage) -> ContractExample:
    fill_fleet(storage.database)
    rows = [
        {"current_mean": 10.0, "vibration_x_mean": 3.0, "temperature_mean": 60.0, "oil_pressure": 2.0}
        for _ in range(16)
    ]
    inputs = {"rows": [{**row, "setting_load": 0.0} for row in rows], "costs": {"late": 10, "early": 1}}
    return ContractExample(
        ModelKey("rul", "pumps"),
        inputs=inputs,
        wrong_inputs={"rows": [{"oil": "low"}]},
        options=dict(SMALL_FLEET),
    )


EXAMPLES = {"rul": rul}
