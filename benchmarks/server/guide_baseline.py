"""What Millwright is measured against: the training server that the old training guide describes, in small.

It follows the guide's approach and nothing of Millwright's: every ``POST /train`` reads all three CSV files
with pandas, appends, writes them whole again, copies everything as a backup, computes 23 hand-made features
(with equipment averages over all rows), fits ``RandomForestRegressor(100)`` for each score one after the
other, pickles the three models and loads them back. Where the guide leaves a choice open, the faster one was
taken: forests are fitted on all cores and asked on one.

``gunicorn "benchmarks.server.guide_baseline:create_app('/some/home')"`` serves it.
"""

from __future__ import annotations

import pickle
import shutil
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
from flask import Flask, jsonify, request
from sklearn.ensemble import RandomForestRegressor

FILES = {
    "availability": ("disponibilite.csv", "Disponibilté"),
    "fiability": ("fiabilite.csv", "Fiabilité Intégrité"),
    "process_safety": ("process_safty.csv", "Process Safety"),
}
FIELDS = {
    "Num_equipement": "equipment_id",
    "Systeme": "system",
    "Description": "description",
    "Date de détéction de l'anomalie": "detected_at",
    "Description de l'équipement": "equipment_name",
    "Section propriétaire": "owner_section",
}
KEYWORDS = (
    "fuite", "vibration", "temp", "bruit", "huile", "vapeur", "bloqu", "corro", "alarme", "urgent",
)  # fmt: skip
GROUPS = ("Num_equipement", "Systeme", "Section propriétaire")


def text_features(rows: pd.DataFrame) -> pd.DataFrame:
    """Sixteen features of the text, one of the equipment's name."""
    text = rows["Description"].fillna("").astype(str)
    lower, length = text.str.lower(), text.str.len().clip(lower=1)
    features = {
        "length": text.str.len(),
        "words": text.str.split().str.len(),
        "capitals": text.str.count(r"[A-Z]") / length,
        "digits": text.str.count(r"\d"),
        "punctuation": text.str.count(r"[^\w\s]"),
        "longest_word": text.map(lambda said: max(map(len, said.split()), default=0)),
        "name_length": rows["Description de l'équipement"].fillna("").astype(str).str.len(),
    }
    flags = {f"says_{word}": lower.str.contains(word, regex=False).astype(int) for word in KEYWORDS}
    return pd.DataFrame({**features, **flags})


class Averages:
    """Six averages of a score by equipment, system and section, over all rows (their own scores included)."""

    def __init__(self, rows: pd.DataFrame, column: str) -> None:
        self._overall = float(rows[column].mean())
        self._means = {group: rows.groupby(group)[column].mean() for group in GROUPS}
        equipment = rows.groupby("Num_equipement")[column]
        self._others = {"std": equipment.std(), "most": equipment.max(), "reports": equipment.count()}

    def features(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Return the averages of each row's equipment, system and section."""
        means = {
            f"mean_{group}": rows[group].map(self._means[group]).fillna(self._overall) for group in GROUPS
        }
        others = {name: rows["Num_equipement"].map(of).fillna(0.0) for name, of in self._others.items()}
        return pd.DataFrame({**means, **others})


class GuideServer:
    """Data, models and backups of the guide's server in one home folder."""

    def __init__(self, home: Path) -> None:
        self.data, self.models, self.backups = (home / name for name in ("data", "models", "model_backups"))
        self.models.mkdir(exist_ok=True)
        self.loaded: dict[str, tuple[Averages, RandomForestRegressor]] = {}

    def train(self, records: list[dict[str, Any]]) -> dict[str, Any]:
        """Add the records, fit everything again."""
        began = time.monotonic()
        backup = self._back_up()
        rows = {score: self._with_new(score, records) for score in FILES}
        for score in FILES:
            self._fit(score, rows[score])
        self.reload()
        return {
            "success": True,
            "message": "Incremental training completed successfully",
            "statistics": {
                "total_records_added": len(records),
                "training_time_seconds": round(time.monotonic() - began, 2),
                "models_retrained": dict.fromkeys(FILES, True),
                "backup_location": f"model_backups/{backup}",
            },
        }

    def predict(self, records: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Three scores a record."""
        rows = pd.DataFrame([{column: r.get(field) for column, field in FIELDS.items()} for r in records])
        text = text_features(rows)
        scores = {
            score: model.predict(pd.concat([text, averages.features(rows)], axis=1))
            for score, (averages, model) in self.loaded.items()
        }
        return [
            {"scores": {score: float(values[i]) for score, values in scores.items()}}
            for i in range(len(rows))
        ]

    def reload(self) -> None:
        """Unpickle the three models."""
        for score in FILES:
            averages, model = pickle.loads((self.models / f"{score}_model.pkl").read_bytes())
            model.n_jobs = 1
            self.loaded[score] = averages, model

    def _with_new(self, score: str, records: list[dict[str, Any]]) -> pd.DataFrame:
        """All rows of one score's file, the new ones appended and the file written again."""
        name, column = FILES[score]
        old = pd.read_csv(self.data / name)
        new = pd.DataFrame(
            [{**{c: r.get(f) for c, f in FIELDS.items()}, column: r[f"{score}_score"]} for r in records],
            columns=old.columns,
        )
        rows = pd.concat([old, new], ignore_index=True) if len(new) else old
        rows.to_csv(self.data / name, index=False)
        return rows

    def _fit(self, score: str, rows: pd.DataFrame) -> None:
        column = FILES[score][1]
        averages = Averages(rows, column)
        features = pd.concat([text_features(rows), averages.features(rows).fillna(0.0)], axis=1)
        model = RandomForestRegressor(100, random_state=42, n_jobs=-1).fit(features, rows[column])
        (self.models / f"{score}_model.pkl").write_bytes(pickle.dumps((averages, model)))

    def _back_up(self) -> str:
        folder = self.backups / f"backup_{datetime.now():%Y%m%d_%H%M%S_%f}"
        shutil.copytree(self.data, folder / "data")
        shutil.copytree(self.models, folder / "models")
        return folder.name


def create_app(home: str) -> Flask:
    """Return the guide's server over one home folder; trains once where there are no models."""
    server = GuideServer(Path(home))
    if not any(server.models.iterdir()):
        server.train([])
    server.reload()
    app = Flask("guide")

    @app.post("/train")
    def train() -> Any:
        return jsonify(server.train(request.get_json()))

    @app.post("/predict")
    def predict() -> Any:
        sent = request.get_json()
        return jsonify(success=True, predictions=server.predict(sent if isinstance(sent, list) else [sent]))

    @app.get("/health/ready")
    def ready() -> Any:
        return jsonify(status="ok")

    return app
