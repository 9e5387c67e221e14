"""``model_info.json`` and ``training_history.json``: two files that every version of every family offers.

What is common to all families is written here, from what a session knows anyway. A family may add fields of
its own, by writing a file of that name into its version; the fields below are then put in. Where a family
writes none, the file is made from the manifest when somebody asks for it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Final

from prediction.contract import JSON

FORMAT: Final = 1
"""Rises when a field changes its meaning or goes; a new field does not raise it."""
MODEL_INFO: Final = "model_info.json"
TRAINING_HISTORY: Final = "training_history.json"
FILE_NAMES: Final = (MODEL_INFO, TRAINING_HISTORY)


def model_info(manifest: JSON) -> JSON:
    """The fields of ``model_info.json`` that all families have, from a manifest or what will become one."""
    return {
        "format": FORMAT,
        "family": manifest["model"]["family"],
        "headline": manifest.get("headline"),
        "options": manifest["options"],
        "data": manifest["facts"],
        "rows": manifest["rows"],
        "fingerprint": manifest["fingerprint"],
        "certificate": manifest["certificate"],
        "scores": manifest["metrics"],
        "libraries": manifest["libraries"],
    }


def training_history(manifest: JSON) -> JSON:
    """``training_history.json`` of a model that is fitted in one go: the same fields, and no epoch."""
    family = manifest["model"]["family"]
    return {"format": FORMAT, "family": family, "epochs": [], "best_epoch": None, "stopped": None}


_MAKERS = {MODEL_INFO: model_info, TRAINING_HISTORY: training_history}


def build_from_manifest(manifest: JSON, name: str) -> bytes:
    """One of the two files, for a version whose family has not written it."""
    return _written(_MAKERS[name](manifest))


def add_common_fields(folder: Path, told: JSON) -> None:
    """Put the common fields into the files that a family has just written.

    Parameters
    ----------
    told : mapping
        What the version's manifest will say: JSON without NaN.
    """
    common = model_info(told)
    _change(folder / MODEL_INFO, lambda own: {**common, **own, **common})
    fields = training_history(told)
    firm = {name: fields[name] for name in ("format", "family")}
    _change(folder / TRAINING_HISTORY, lambda own: {**fields, **own, **firm})


def _change(path: Path, changed: Callable[[JSON], JSON]) -> None:
    if path.exists():
        path.write_bytes(_written(changed(json.loads(path.read_text(encoding="utf-8")))))


def _written(content: JSON) -> bytes:
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False, default=lambda n: n.tolist())
    return text.encode()
