"""Compute sentence embeddings with ONNX Runtime: the same numbers in training and serving, without torch."""

from __future__ import annotations

import hashlib
import json
import os
import re
import threading
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from prediction.contract import Resources
from prediction.scoring.data.row_cache import RowCache
from prediction.scoring.features.point_in_time import Floats

# Raised with every change of what an export computes: earlier exports and their embeddings are redone.
EXPORT_FORMAT = 2

MODEL_FILE, TOKENIZER_FILE, FACTS_FILE = "model.onnx", "tokenizer.json", "facts.json"
EMBEDDING_BATCH_SIZE = 32
MAX_MEMORY_TEXTS = 4_096
MAX_THREADS = 2


class SentenceModelFacts(TypedDict):
    """The facts file of an export. ``longest`` is the greatest number of tokens."""

    name: str
    weights_sha256: str
    width: int
    longest: int
    source: list[int]
    model_bytes: int


class SentenceEncoder:
    """An exported sentence model.

    Parameters
    ----------
    folder : Path
        Written by ``embedding.export``: the network (token ids to unit vectors), its tokenizer, facts.
    """

    def __init__(self, folder: Path) -> None:
        import onnxruntime
        from tokenizers import Tokenizer

        facts: SentenceModelFacts = json.loads((folder / FACTS_FILE).read_bytes())
        self.width = facts["width"]
        self._tokenizer = Tokenizer.from_file(str(folder / TOKENIZER_FILE))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(facts["longest"])
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(
            str(folder / MODEL_FILE), options, providers=["CPUExecutionProvider"]
        )

    def encode(self, texts: Sequence[str]) -> Floats:
        """Return unit vectors, shape (texts, width)."""
        tokens: list[list[int]] = [
            encoding.ids for encoding in self._tokenizer.encode_batch_fast(list(texts))
        ]
        # Texts of one length are computed together, so that little is padded.
        order = sorted(range(len(tokens)), key=lambda text: len(tokens[text]))
        batches = [
            order[start : start + EMBEDDING_BATCH_SIZE]
            for start in range(0, len(order), EMBEDDING_BATCH_SIZE)
        ]
        vectors = np.zeros((len(texts), self.width), np.float32)

        def encode_batch(batch: list[int]) -> None:
            ids = np.zeros((len(batch), max(len(tokens[text]) for text in batch)), np.int64)
            mask = np.zeros_like(ids)
            for row, text in enumerate(batch):
                ids[row, : len(tokens[text])] = tokens[text]
                mask[row, : len(tokens[text])] = 1
            vectors[batch] = self._session.run(None, {"input_ids": ids, "attention_mask": mask})[0]

        threads = min(MAX_THREADS, os.cpu_count() or 1, len(batches))
        if threads > 1:
            # The longest batches first, so that the threads end together.
            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(encode_batch, reversed(batches)))
        else:
            for batch in batches:
                encode_batch(batch)
        return vectors


class SentenceModel:
    """The sentence model of a process: loaded on first use, or absent with a reason.

    Parameters
    ----------
    name : str
        The setting: an installed package, a local folder, or ``none``.
    cache_dir : Path
        Where exports and embeddings are stored.
    """

    def __init__(self, name: str, cache_dir: Path) -> None:
        self.name = name
        self._folder = export_folder(name, cache_dir)
        self._cache_dir = cache_dir
        self._lock = threading.Lock()
        self._encoder: SentenceEncoder | None = None
        self._memory: OrderedDict[str, NDArray[np.float32]] = OrderedDict()

    @property
    def facts(self) -> SentenceModelFacts | None:
        """The facts of the exported model; None where there is none."""
        try:
            facts: SentenceModelFacts = json.loads((self._folder / FACTS_FILE).read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            return None
        return facts

    @property
    def absence(self) -> str:
        """Why there is no sentence model, for a person."""
        if self.name == "none":
            return "The setting sentence_model is 'none': evidence is found by the letters of the texts"
        return (
            f"The sentence model {self.name!r} has not been exported: evidence is found by the letters of "
            "the texts. It is exported when the server starts, if the package or folder is there"
        )

    def load(self) -> SentenceEncoder:
        """Return the encoder, loaded once; OSError or ValueError where it is missing or damaged."""
        with self._lock:
            if self._encoder is None:
                self._encoder = SentenceEncoder(self._folder)
            return self._encoder

    def encode(self, texts: Sequence[str]) -> Floats:
        """Return unit vectors of the texts; recent ones come from memory."""
        missing = [text for text in dict.fromkeys(texts) if text not in self._memory]
        computed = dict(zip(missing, self.load().encode(missing), strict=True)) if missing else {}
        rows = [computed[text] if text in computed else self._memory.get(text) for text in texts]
        vectors = [row for row in rows if row is not None]
        if len(vectors) < len(texts):  # another thread has just evicted one
            return self.load().encode(texts)
        with self._lock:
            self._memory.update(computed)
            while len(self._memory) > MAX_MEMORY_TEXTS:
                self._memory.popitem(last=False)
        return np.stack(vectors) if vectors else np.zeros((0, self.load().width), np.float32)

    def embedding_cache(self, weights_sha256: str, width: int) -> RowCache[np.float16]:
        """Return the cache of embeddings, by the hash of their text, of the model with these weights."""
        name = f"embeddings-{EXPORT_FORMAT}-{weights_sha256[:16]}.rows"
        return RowCache[np.float16](self._cache_dir / "scoring" / name, np.dtype((np.float16, (width,))))


def get_sentence_model(resources: Resources) -> SentenceModel:
    """Return the process's one sentence model."""
    model: SentenceModel = resources.get_or_create(
        "sentence_model", lambda: SentenceModel(resources.sentence_model, resources.cache_dir)
    )
    return model


def export_folder(name: str, cache_dir: Path) -> Path:
    """Return the folder of a sentence model's export."""
    readable = re.sub(r"[^A-Za-z0-9._-]+", "-", Path(name).name)[:60]
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return cache_dir / "sentence_models" / f"{readable}-{digest}-{EXPORT_FORMAT}"
