"""A tiny family for tests: it predicts the mean of what it was sent, and fails in every way it is told to.

Its records are ``{"id", "value"}``, kept in ``data/toy-<name>.csv``; the model is one number.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import time
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any, ClassVar

from errors import Conflict, InvalidContent, InvalidRecords, NotEnoughData
from prediction.contract import (
    JSON,
    Champion,
    DataImpact,
    DataSource,
    Metric,
    ModelFamily,
    ModelKey,
    NewRecords,
    Options,
    ParityProbe,
    Predictor,
    PreparedData,
    Progress,
    QuarantinedBatch,
    Rating,
    Record,
    RecordBatch,
    RecordReviewer,
    RecordStore,
    RequestParser,
    Resources,
    Scores,
    SevereCase,
    SevereCaseReader,
    TrainingSource,
    artefact_errors,
)
from prediction.registry import FamilyEntry
from prediction.splits import SplitCertificate
from storage.journal_steps import Append, DataChanges, Move

ENTRY = FamilyEntry(
    parser="tests.toy_family:ToyRequestParser",
    source="tests.toy_family:ToyDataSource",
    store="tests.toy_family:ToyRecordStore",
    family="tests.toy_family:ToyFamily",
    predictor="tests.toy_family:ToyPredictor",
    targets=("mean",),
    takes_records=True,
    is_quick=True,
)
# The same family with severe cases.
GUARDED_ENTRY = replace(ENTRY, severe_cases="tests.toy_family:ToySevereCases")
HEADER = "id,value,session\n"
DEFAULTS: JSON = {
    "experiment_name": None,
    "run_name": None,
    "bias": 0.0,  # added to the mean: a worse model
    "sleep_s": 0.0,  # how long fit takes
    "hold": "",  # fit goes on for as long as there is this file
    "say": "",  # what fit prints, and warns of
    "fail": False,  # fit raises
    "crash": False,  # the process dies in fit
    "leak": False,  # the certificate does not hold
    "left_out": "",  # what a warning of the data says
    "off": 0.0,  # the saved model answers by this much differently
    "strict": False,  # the saved model cannot be loaded
}


def records(count: int, start: int = 0, value: float | None = None) -> list[JSON]:
    """``count`` records with values that wander a little around 3."""
    numbers = range(start, start + count)
    return [{"id": f"r{n}", "value": 3 + (n % 7 - 3) / 10 if value is None else value} for n in numbers]


class ToyRequestParser(RequestParser):
    """Records with an id and a value."""

    def has_download(self, file_name: str) -> bool:
        return file_name in ("model.txt", "other.txt")

    def parse_records(self, raw: Any) -> RecordBatch:
        if not isinstance(raw, list) or not raw:
            raise InvalidContent("Send a list of records")
        faults = [
            {
                "record": n,
                "field": "value",
                "code": "missing",
                "value": None,
                "message": f"Record {n}: no value",
            }
            for n, record in enumerate(raw, 1)
            if "value" not in record
        ]
        if faults:
            raise InvalidRecords(faults)
        known = [{"id": record["id"], "value": float(record["value"])} for record in raw]
        return RecordBatch(
            known, ignored_fields=sorted({name for record in raw for name in record} - {"id", "value"})
        )

    def parse_options(self, raw: Mapping[str, object]) -> JSON:
        if unknown := sorted(set(raw) - set(DEFAULTS)):
            raise InvalidContent(f"Unknown options: {unknown}")
        return {**DEFAULTS, **raw}

    def parse_inputs(self, raw: Any) -> RecordBatch:
        if not isinstance(raw, list):
            raise InvalidContent("Send a list of inputs")
        return RecordBatch(raw)


class ToyRecordStore(RecordStore):
    """Records in one CSV file for each model."""

    def select_new(self, key: ModelKey, batch: RecordBatch) -> NewRecords:
        stored = {row["id"]: float(row["value"]) for row in read_rows(self._file(key))}
        new = [record for record in batch.records if stored.get(record["id"]) != record["value"]]
        corrected = sum(record["id"] in stored for record in new)
        return NewRecords(new, len(batch.records) - len(new), corrected)

    def data_files(self, key: ModelKey) -> list[Path]:
        return [self._file(key), quarantine_file(self._file(key))]

    def check_data(self, key: ModelKey, adopt: bool = True) -> list[str]:
        return []

    def plan_append(
        self, key: ModelKey, new: Sequence[Record], session_id: int, quarantined: bool = False
    ) -> DataChanges:
        file = self._file(key)
        text = "".join(f"{record['id']},{record['value']},{session_id}\n" for record in new)
        size = file.stat().st_size if file.exists() else 0
        append = Append(self._relative(file), size, text if size else HEADER + text)
        appends = [append] if new else []
        if new and quarantined:
            marks = quarantine_file(file)
            size = marks.stat().st_size if marks.exists() else 0
            appends.append(Append(self._relative(marks), size, f"{session_id}\n"))
        return DataChanges(appends=appends)

    def plan_release(self, key: ModelKey, session_id: int, staging: Path) -> DataChanges:
        marks = quarantine_file(self._file(key))
        sessions = read_quarantined(self._file(key))
        if str(session_id) not in sessions:
            raise Conflict(f"No records of session {session_id} are quarantined")
        (staging / marks.name).write_text("".join(f"{n}\n" for n in sessions if n != str(session_id)))
        return DataChanges(moves=[Move(self._relative(staging / marks.name), self._relative(marks))])

    def list_quarantined(self, key: ModelKey) -> list[QuarantinedBatch]:
        waiting = Counter(row["session"] for row in read_rows(self._file(key)))
        sessions = read_quarantined(self._file(key))
        return [QuarantinedBatch(int(n), waiting[n], "2026-01-01 00:00:00") for n in sessions if waiting[n]]

    def plan_removal(self, key: ModelKey, session_id: int, staging: Path) -> DataChanges:
        file = self._file(key)
        lines = file.read_text().splitlines(keepends=True) if file.exists() else []
        kept = [line for line in lines if not line.endswith(f",{session_id}\n")]
        if kept == lines:
            raise Conflict(f"No records of session {session_id} are stored")
        (staging / file.name).write_text("".join(kept))
        return DataChanges(moves=[Move(self._relative(staging / file.name), self._relative(file))])

    def has_enough(self, key: ModelKey) -> bool:
        return len(read_rows(self._file(key))) >= 5

    def _file(self, key: ModelKey) -> Path:
        return self.data_dir / f"toy-{key.name}.csv"

    def _relative(self, file: Path) -> str:
        return str(file.relative_to(self.data_dir.parent))


class ToyDataSource(DataSource):
    """The CSV file of a model."""

    def training_source(self, key: ModelKey, pending: Path | None, staged: Path | None = None) -> JSON:
        file = (staged or self.data_dir) / f"toy-{key.name}.csv"
        return {"file": str(file), "pending": str(pending) if pending else None}


def quarantine_file(file: Path) -> Path:
    """Return the file with the sessions whose rows no training reads."""
    return file.with_name(f"{file.stem}-quarantine.csv")


def read_quarantined(file: Path) -> list[str]:
    """Return the sessions whose rows no training reads."""
    marks = quarantine_file(file)
    return marks.read_text().split() if marks.exists() else []


def read_rows(file: Path) -> list[dict[str, str]]:
    """Return the stored rows, oldest first; none where there is no file."""
    if not file.exists():
        return []
    with file.open(newline="") as opened:
        return list(csv.DictReader(opened))


@dataclass(frozen=True, kw_only=True)
class PreparedToyData(PreparedData):
    """Values in the order in which they came."""

    train: Sequence[float]
    test: Sequence[float]


class ToyReviewer(RecordReviewer[PreparedToyData, JSON]):
    """The mean without the new records beside the mean with them."""

    def assess_new_data(
        self, model: JSON, champion: Champion, prepared: PreparedToyData, options: Options
    ) -> DataImpact | None:
        old, new = prepared.facts["old"], [record["value"] for record in prepared.facts["new"]]
        if not new or not old:
            return None
        without, together = fmean(old), fmean(old + new)
        reasons = [f"{record['id']} says {record['value']}" for record in prepared.facts["new"][:3]]
        return DataImpact([abs(v - without) for v in old], [abs(v - together) for v in old], reasons)


class ToyFamily(ModelFamily[PreparedToyData, JSON]):
    """The mean of the first four fifths, judged on the last fifth."""

    name: ClassVar[str] = "toy"
    headline: ClassVar[Metric] = Metric("mae", "points")
    reviewer = ToyReviewer()

    def prepare(self, source: TrainingSource, options: Options, resources: Resources) -> PreparedToyData:
        file = Path(source["file"])
        quarantined = read_quarantined(file)
        old = [float(row["value"]) for row in read_rows(file) if row["session"] not in quarantined]
        new = json.loads(Path(source["pending"]).read_text()) if source["pending"] else []
        values = old + [record["value"] for record in new]
        if len(values) < 5:
            raise NotEnoughData(f"5 records are needed, there are {len(values)}")
        cut = len(values) * 4 // 5
        return PreparedToyData(
            train=values[:cut],
            test=values[cut:],
            certificate=_certificate(cut, len(values), options["leak"]),
            fingerprint=hashlib.sha256(json.dumps(values).encode()).hexdigest(),
            rows=len(values),
            facts={"new": new, "old": old},
            warnings=[options["left_out"]] if options["left_out"] else [],
        )

    def fit(self, prepared: PreparedToyData, options: Options, progress: Progress) -> JSON:
        if options["crash"]:
            os._exit(13)
        if options["fail"]:
            raise ValueError("told to fail")
        if options["say"]:
            print(options["say"])  # noqa: T201
            warnings.warn(f"warned of {options['say']}", stacklevel=1)
        steps = max(1, round(options["sleep_s"] / 0.05))
        for done in range(steps):
            progress("epoch", done=done + 1, of=steps)
            time.sleep(options["sleep_s"] / steps)
        while options["hold"] and Path(options["hold"]).exists():
            progress("epoch", done=steps, of=steps)
            time.sleep(0.02)
        return {"mean": fmean(prepared.train), "bias": options["bias"], "off": options["off"],
                "strict": options["strict"]}  # fmt: skip

    def evaluate(self, model: JSON, prepared: PreparedToyData) -> Scores:
        return _scores(model["mean"] + model["bias"], prepared.test)

    def evaluate_champion(
        self, champion: Champion, prepared: PreparedToyData, options: Options
    ) -> Scores | None:
        with artefact_errors(f"Version {champion.number}"):
            kept = json.loads((champion.folder / "model.json").read_text())
            json.loads((champion.folder / "losses.json").read_text())  # which no prediction reads
        return _scores(fmean(prepared.train) + kept["bias"], prepared.test)

    def refit(self, model: JSON, prepared: PreparedToyData, options: Options, progress: Progress) -> JSON:
        return {**model, "mean": fmean([*prepared.train, *prepared.test])}

    def save(self, model: JSON, prepared: PreparedToyData, folder: Path) -> None:
        (folder / "model.json").write_text(json.dumps(model))
        (folder / "losses.json").write_text("[]")

    def build_probe(self, model: JSON, prepared: PreparedToyData) -> ParityProbe:
        answers = [{"value": model["mean"] + model["bias"] + n, "kind": "toy"} for n in range(64)]
        return ParityProbe([{"x": n} for n in range(64)], answers, tolerance=1e-6)

    def download(self, folder: Path, file_name: str, target: Path) -> bool:
        if file_name != "model.txt":
            return False
        target.write_text("the mean, in words")
        return True


class ToyPredictor(Predictor):
    """The mean, plus whatever is asked."""

    def __init__(self, model: JSON) -> None:
        self.model = model

    @classmethod
    def warm_up(cls, resources: Resources) -> None:
        resources.get_or_create("toy", lambda: "warm")

    @classmethod
    def load(cls, folder: Path, resources: Resources) -> ToyPredictor:
        model = json.loads((folder / "model.json").read_text())
        if model["strict"]:
            raise ValueError("told not to load")
        return cls(model)

    def predict(self, inputs: Sequence[Any], options: Options) -> list[JSON]:
        base = self.model["mean"] + self.model["bias"] + self.model["off"]
        return [{"value": base + one["x"], "kind": "toy"} for one in inputs]


class ToySevereCases(SevereCaseReader):
    """The records of 3.3 and more; a version whose mean is below 2.95 answers 4 to all of them, others 5."""

    def list_cases(self, source: TrainingSource, chosen: Sequence[str] | None) -> list[SevereCase]:
        rows = {row["id"]: float(row["value"]) for row in read_rows(Path(source["file"]))}
        severe = {name: value for name, value in reversed(rows.items()) if value >= 3.25}
        wanted = list(severe) if chosen is None else [name for name in severe if name in chosen]
        return [SevereCase(name, f"Record {name}", {"x": 0}, {"mean": severe[name]}) for name in wanted]

    def rate(
        self, folder: Path, cases: Sequence[SevereCase], resources: Resources
    ) -> list[Mapping[str, Rating]]:
        model = json.loads((folder / "model.json").read_text())
        return [{"mean": Rating(5.0 if model["mean"] >= 2.95 else 4.0, 1.0)} for _ in cases]


def _certificate(cut: int, count: int, leak: bool) -> SplitCertificate:
    return SplitCertificate("row", "time", train=[(0, cut - 1)], test=[(cut - leak, count - 1)])


def _scores(answer: float, test: Sequence[float]) -> Scores:
    losses = [abs(value - answer) for value in test]
    baseline = fmean(abs(value) for value in test)
    return Scores(
        fmean(losses), {"mae": fmean(losses)}, {"zero": baseline}, len(test), fmean(losses) < baseline, losses
    )
