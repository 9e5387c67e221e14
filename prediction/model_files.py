"""``model_info.json`` and ``training_history.json``: the two files that every version of every family offers.

The fields that all families share are written here, from what the session knows. A family may add fields by
writing a file of that name into its version. For a family that writes none, the file is made from the
manifest on request.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from storage.filesystem.checked_write import write_checked
from storage.models.manifest import Manifest

# Rises when a field changes its meaning or disappears; a new field does not raise it.
FORMAT: Final = 1
MODEL_INFO: Final = "model_info.json"
TRAINING_HISTORY: Final = "training_history.json"
FILE_NAMES: Final = (MODEL_INFO, TRAINING_HISTORY)


def model_info(manifest: Manifest) -> dict[str, object]:
    """Return the shared fields of ``model_info.json``, from a manifest or the content of a future one."""
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


def training_history(manifest: Manifest) -> dict[str, object]:
    """Return ``training_history.json`` of a model that was fitted without epochs."""
    family = manifest["model"]["family"]
    return {"format": FORMAT, "family": family, "epochs": [], "best_epoch": None, "stopped": None}


def build_from_manifest(manifest: Manifest, name: str) -> bytes:
    """Return one of the two files for a version whose family has not written it."""
    return _encode(model_info(manifest) if name == MODEL_INFO else training_history(manifest))


def add_common_fields(folder: Path, manifest: Manifest) -> None:
    """Add the shared fields to the files that a family has just written.

    Parameters
    ----------
    manifest : mapping
        What the version's manifest will contain: JSON without NaN.
    """
    common, history = model_info(manifest), training_history(manifest)
    fixed = {name: history[name] for name in ("format", "family")}
    # Shared fields come first in model_info.json, and a family cannot replace them.
    for name, defaults, overrides in ((MODEL_INFO, common, common), (TRAINING_HISTORY, history, fixed)):
        path = folder / name
        if path.exists():
            own = json.loads(path.read_text(encoding="utf-8"))
            write_checked(path, _encode({**defaults, **own, **overrides}))


def _encode(content: Mapping[str, object]) -> bytes:
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False, default=lambda n: n.tolist())
    return text.encode()
