"""Tables of reports are read in every format in which tables of readings are."""

from __future__ import annotations

import io
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
from flask.testing import FlaskClient

from api.http.request_body import CSV_TYPE, WORKBOOK_TYPES
from tests.api.test_same_reading import write_workbook

# The plant's own names, as in its exports.
REPORTS = pd.DataFrame(
    {
        "anomaly_id": [701, 702],
        "Description": ["Fuite d'huile au presse-étoupe", "Vibration du palier"],
        "Description de l'équipement": ["Pompe A", "Ventilateur"],
        "Num_equipement": [7, 8],
        "availability_score": [2, 3],
        "fiability_score": [2.5, 4],
        "process_safety_score": [1, 2],
    }
)


def encode(kind: str, folder: Path) -> tuple[bytes, str]:
    if kind == "workbook":
        file = folder / "reports.xlsx"
        write_workbook(file, [list(REPORTS.columns), *REPORTS.to_numpy().tolist()])
        return file.read_bytes(), WORKBOOK_TYPES[0]
    if kind == "arrow":
        sink, table = io.BytesIO(), pa.Table.from_pandas(REPORTS, preserve_index=False)
        with pa.ipc.new_stream(sink, table.schema) as stream:
            stream.write_table(table)
        return sink.getvalue(), "application/vnd.apache.arrow.stream"
    if kind == "parquet":
        return REPORTS.to_parquet(index=False), "application/vnd.apache.parquet"
    return REPORTS.to_csv(index=False).encode(), CSV_TYPE


@pytest.mark.parametrize("kind", ["csv", "workbook", "parquet", "arrow"])
def test_a_table_of_reports_is_read_in_every_format(client: FlaskClient, tmp_path: Path, kind: str) -> None:
    body, content_type = encode(kind, tmp_path)
    answer = client.post("/train/scoring/default?dry_run=1", data=body, content_type=content_type)
    assert answer.status_code == 200, answer.json
    assert answer.json["records_new"] == 2, answer.json
