"""model_info.json and training_history.json have the same fields whoever writes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from prediction import model_files

MANIFEST: Any = {
    "model": {"family": "toy", "name": "default", "tenant": "default"},
    "headline": {"name": "mae", "unit": "points", "higher_is_better": False},
    "options": {"bias": 0.0},
    "facts": {"ort": "Zürich"},
    "rows": 50,
    "fingerprint": "f" * 64,
    "certificate": {"unit": "row"},
    "metrics": {"headline": 0.2},
    "libraries": {"python": "3.11"},
}


def test_a_family_that_writes_none_gets_both_from_its_manifest():
    info = json.loads(model_files.build_from_manifest(MANIFEST, "model_info.json"))
    assert (info["format"], info["family"], info["data"]) == (1, "toy", {"ort": "Zürich"})
    history = json.loads(model_files.build_from_manifest(MANIFEST, "training_history.json"))
    assert history == {"format": 1, "family": "toy", "epochs": [], "best_epoch": None, "stopped": None}


def test_what_a_family_writes_keeps_its_own_fields_and_gets_the_common_ones(tmp_path: Path):
    own = {"architecture": "BiGRU", "family": "wrong", "options": "wrong"}
    (tmp_path / "model_info.json").write_text(json.dumps(own))
    epochs = [{"epoch": 1, "train_loss": 0.5, "val_loss": None}]
    (tmp_path / "training_history.json").write_text(json.dumps({"epochs": epochs, "best_epoch": 1}))
    model_files.add_common_fields(tmp_path, MANIFEST | {"rows": np.int64(50)})
    info = json.loads((tmp_path / "model_info.json").read_text())
    history = json.loads((tmp_path / "training_history.json").read_text())
    assert info == {**model_files.model_info(MANIFEST), "architecture": "BiGRU"}
    assert history == {**model_files.training_history(MANIFEST), "epochs": epochs, "best_epoch": 1}


def test_no_file_is_made_where_the_family_writes_none(tmp_path: Path):
    model_files.add_common_fields(tmp_path, MANIFEST)
    assert list(tmp_path.iterdir()) == []
