"""The examples of the contract suite: every registered family brings its own, and the suite finds them.

A family has a module ``tests/prediction/<family>/contract_examples.py`` with a mapping ``EXAMPLES`` from a name to
a function that fills a storage and returns a `ContractExample`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from prediction import registry
from prediction.contract import ModelKey
from storage.container import Storage
from tests import toy_family


@dataclass(frozen=True)
class ContractExample:
    """One model with enough stored data to train.

    Parameters
    ----------
    inputs : object
        A valid prediction request with at least one input.
    wrong_inputs : object
        A prediction request with a fault.
    options : mapping
        Training options as a client sends them.
    records : sequence, optional
        New records for a second training; None where the family trains from stored data.
    other_records : sequence
        Records that no training has had.
    """

    key: ModelKey
    inputs: Any
    wrong_inputs: Any
    options: dict[str, Any] = field(default_factory=dict)
    records: Sequence[dict[str, Any]] | None = None
    other_records: Sequence[dict[str, Any]] = ()


Build = Callable[[Storage], ContractExample]


def toy(storage: Storage) -> ContractExample:
    """Fill the CSV file of the toy family."""
    rows = [f"{record['id']},{record['value']},0\n" for record in toy_family.records(50)]
    (storage.settings.data_dir / "toy-default.csv").write_text(toy_family.HEADER + "".join(rows))
    inputs = [{"x": number} for number in range(5)]
    return ContractExample(
        ModelKey("toy"),
        inputs,
        wrong_inputs="x",
        records=toy_family.records(5, 100),
        other_records=toy_family.records(5, 200),
    )


def load_examples() -> dict[str, Build]:
    """Return the examples of the toy family and of every registered family."""
    examples: dict[str, Build] = {"toy": toy}
    for family in registry.FAMILIES:
        own: Mapping[str, Build] = import_module(f"tests.prediction.{family}.contract_examples").EXAMPLES
        assert own, f"{family} has no example for the contract suite"
        examples |= own
    return examples
