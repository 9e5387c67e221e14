"""The example of the scoring family for the contract suite."""

from __future__ import annotations

from demo.anomaly_reports import demo_records, install_demo_reports
from prediction.contract import ModelKey
from storage.container import Storage
from tests.contract.examples import ContractExample


def scoring(storage: Storage) -> ContractExample:
    install_demo_reports(storage.settings.data_dir)
    reports = demo_records(8, seed=7)
    return ContractExample(
        ModelKey("scoring"),
        inputs=reports[5:],
        wrong_inputs=[{"description": 3}],
        records=reports[:5],
        other_records=demo_records(5, seed=11),
    )


EXAMPLES = {"scoring": scoring}
