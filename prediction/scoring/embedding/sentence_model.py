"""Sentence embeddings through ONNX Runtime: the same numbers in training and serving, without torch."""

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
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prediction.contract import Resources
from prediction.scoring.data.row_cache import Keys, RowCache
from prediction.scoring.features.point_in_time import Floats

EXPORT_FORMAT = 2
"""Raised with every change of what an export computes: an earlier one and its embeddings are made anew."""

MODEL_FILE, TOKENIZER_FILE, FACTS_FILE = "model.onnx", "tokenizer.json", "facts.json"
EMBEDDING_BATCH_SIZE = 32
MAX_MEMORY_TEXTS = 4_096
MAX_THREADS = 2


class SentenceEncoder:
    """An exported sentence model.

    Parameters
    ----------
    folder : Path
        Written by ``embedding_export``: the network (token ids to unit vectors), its tokenizer, facts.
    """

    def __init__(self, folder: Path) -> None:
        import onnxruntime
        from tokenizers import Tokenizer

        facts = json.loads((folder / FACTS_FILE).read_bytes())
        self.width: int = facts["width"]
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
        """Unit vectors, shape (texts, width). Texts of one length travel together, so little is padded."""
        tokens = [encoding.ids for encoding in self._tokenizer.encode_batch_fast(list(texts))]
        order = sorted(range(len(tokens)), key=lambda place: len(tokens[place]))
        batches = [order[i : i + EMBEDDING_BATCH_SIZE] for i in range(0, len(order), EMBEDDING_BATCH_SIZE)]
        found = np.zeros((len(texts), self.width), np.float32)

        def run(batch: list[int]) -> None:
            found[batch] = self._run([tokens[place] for place in batch])

        threads = min(MAX_THREADS, os.cpu_count() or 1, len(batches))
        if threads > 1:
            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(run, reversed(batches)))
        else:
            for batch in batches:
                run(batch)
        return found

    def _run(self, tokens: list[list[int]]) -> Floats:
        ids = np.zeros((len(tokens), max(map(len, tokens))), np.int64)
        mask = np.zeros_like(ids)
        for row, of_text in enumerate(tokens):
            ids[row, : len(of_text)] = of_text
            mask[row, : len(of_text)] = 1
        vectors: Floats = self._session.run(None, {"input_ids": ids, "attention_mask": mask})[0]
        return vectors


class SentenceModel:
    """The sentence model of a process: loaded on first use, or absent with a reason.

    Parameters
    ----------
    name : str
        The setting: an installed package, a local folder, or ``none``.
    cache_dir : Path
        Where exports and embeddings are kept.
    """

    def __init__(self, name: str, cache_dir: Path) -> None:
        self.name = name
        self._folder = export_folder(name, cache_dir)
        self._cache_dir = cache_dir
        self._loading = threading.Lock()
        self._encoder: SentenceEncoder | None = None
        self._remembered: OrderedDict[str, NDArray[np.float32]] = OrderedDict()

    @property
    def facts(self) -> dict[str, Any] | None:
        """What is known of the exported model; None where there is none."""
        try:
            facts: dict[str, Any] = json.loads((self._folder / FACTS_FILE).read_bytes())
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
        """The encoder, loaded once; OSError or ValueError where it is missing or damaged."""
        with self._loading:
            if self._encoder is None:
                self._encoder = SentenceEncoder(self._folder)
            return self._encoder

    def encode(self, texts: Sequence[str]) -> Floats:
        """Unit vectors of the texts; those asked lately are remembered."""
        fresh = [text for text in dict.fromkeys(texts) if text not in self._remembered]
        made = dict(zip(fresh, self.load().encode(fresh), strict=True)) if fresh else {}
        rows = [made[text] if text in made else self._remembered.get(text) for text in texts]
        if any(row is None for row in rows):  # another thread has just forgotten one
            return self.load().encode(texts)
        self._remember(made)
        return np.stack(rows) if rows else np.zeros((0, self.load().width), np.float32)  # type: ignore[arg-type]

    def kept(self, weights_sha256: str, width: int) -> RowCache:
        """Embeddings on disk, by the hash of their text, of the model with these weights."""
        name = f"embeddings-{EXPORT_FORMAT}-{weights_sha256[:16]}.rows"
        return RowCache(self._cache_dir / "scoring" / name, np.dtype((np.float16, (width,))))

    def _remember(self, made: dict[str, NDArray[np.float32]]) -> None:
        with self._loading:
            self._remembered.update(made)
            while len(self._remembered) > MAX_MEMORY_TEXTS:
                self._remembered.popitem(last=False)


def sentence_model(resources: Resources) -> SentenceModel:
    """The process's one sentence model."""
    made: SentenceModel = resources.get_or_create(
        "sentence_model", lambda: SentenceModel(resources.sentence_model, resources.cache_dir)
    )
    return made


def export_folder(name: str, cache_dir: Path) -> Path:
    """Where the export of a sentence model lies."""
    readable = re.sub(r"[^A-Za-z0-9._-]+", "-", Path(name).name)[:60]
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return cache_dir / "sentence_models" / f"{readable}-{digest}-{EXPORT_FORMAT}"


def hash_texts(texts: Sequence[str]) -> Keys:
    """Names of the texts' embeddings."""
    blake = hashlib.blake2b
    digests = b"".join(blake(t.encode("utf-8", "surrogatepass"), digest_size=8).digest() for t in texts)
    return np.frombuffer(digests, "<u8").astype(np.uint64)
