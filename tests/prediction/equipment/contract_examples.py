"""The example of the equipment family for the contract suite."""

from __future__ import annotations

from prediction.contract import ModelKey
from storage.container import Storage
from tests.contract.examples import ContractExample
from tests.prediction.equipment.conftest import SMALL, fill_pump, make_pump, to_rows


def equipment(storage: Storage) -> ContractExample:
    fill_pump(storage.database)
    return ContractExample(
        ModelKey("equipment", "pump-1"),
        inputs={"rows": to_rows(make_pump(60, seed=7))},
        wrong_inputs={"rows": [{"speed": "fast"}]},
        options=dict(SMALL),
    )


EXAMPLES = {"equipment": equipment}
