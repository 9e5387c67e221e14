"""A training that can go on where it was cut off: one safetensors file, replaced atomically, no pickle."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import structlog
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from prediction.contract import JSON
from prediction.neural.callbacks import Callback, TrainingRun
from storage.filesystem.files import write_atomic

log = structlog.get_logger()

Tensors = dict[str, Tensor]

_KEPT_DAYS = 14


class Checkpoint:
    """The one file in which a run leaves its tensors and, beside them in the same file, its facts as JSON.

    Parameters
    ----------
    path : Path
        The file; its folder exists.
    identity : str
        Says which run may go on from it: a hash of data, options and seed. A file of another run is ignored.
    pause_s : float
        Seconds that pass at least between two writes, so that short epochs do not wait for the disk.
    """

    def __init__(self, path: Path, identity: str = "", pause_s: float = 1.0) -> None:
        self.path = path
        self.identity = identity
        self._pause_s = pause_s
        self._written = -pause_s

    @classmethod
    def for_training(cls, folder: Path | None, told: Sequence[Any]) -> Checkpoint | None:
        """Where a training leaves its epochs: equal data, options and torch go on from the same file.

        Parameters
        ----------
        folder : Path, optional
            Of all trainings' checkpoints; what lies there for two weeks is removed. None keeps nothing.
        told : sequence
            JSON that tells this training from others: the data's fingerprint and the options.
        """
        if folder is None:
            return None
        identity = hashlib.sha256(json.dumps([*told, torch.__version__], sort_keys=True).encode()).hexdigest()
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob("*.safetensors"):
            if time.time() - old.stat().st_mtime > _KEPT_DAYS * 86_400:
                old.unlink(missing_ok=True)
        return cls(folder / f"{identity[:32]}.safetensors", identity)

    @classmethod
    @contextmanager
    def temporary_for(cls, folder: Path | None, told: Sequence[Any]) -> Iterator[Checkpoint | None]:
        """The checkpoint of a training (see :meth:`of_training`), removed once the block ends well."""
        checkpoint = cls.for_training(folder, told)
        yield checkpoint
        if checkpoint is not None:
            for file in checkpoint.path.parent.glob(f"{checkpoint.path.stem}*{checkpoint.path.suffix}"):
                file.unlink(missing_ok=True)

    def for_variant(self, name: str) -> Checkpoint:
        """The same file for a run that this name tells from others: of what ``auto`` chose, for example."""
        return Checkpoint(self.path, f"{self.identity} {name}", self._pause_s)

    def for_member(self, number: int) -> Checkpoint:
        """A file for each network of an ensemble, so that those that are done stay done."""
        path = self.path.with_name(f"{self.path.stem}-{number}{self.path.suffix}")
        return Checkpoint(path, f"{self.identity} member {number}", self._pause_s)

    def is_due(self) -> bool:
        """Whether enough time has passed since the last write."""
        return time.monotonic() - self._written >= self._pause_s

    def write(self, tensors: Mapping[str, Tensor], facts: JSON) -> None:
        """Replace the file; a reader, also after a power cut, sees the old one or this one."""
        about = json.dumps({"identity": self.identity, **facts})
        copies = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
        write_atomic(self.path, save(copies, metadata={"run": about}))
        self._written = time.monotonic()

    def read(self) -> tuple[Tensors, JSON] | None:
        """Tensors and facts of the run; None where there is no file, a torn one, or one of another run."""
        try:
            content = self.path.read_bytes()
            facts = _facts(content)
            tensors = load(content)
        except FileNotFoundError:
            return None
        except (SafetensorError, ValueError, KeyError) as error:
            log.warning("checkpoint_ignored", file=str(self.path), reason=str(error))
            return None
        return (tensors, facts) if facts.pop("identity") == self.identity else None

    def keep(self, run: TrainingRun, callbacks: Sequence[Callback] = ()) -> None:
        """Write a run as it stands between two epochs."""
        tensors = {f"network.{name}": value for name, value in run.network.state_dict().items()}
        tensors |= {f"best.{name}": value for name, value in run.best.items()}
        kept = run.optimiser.state_dict()
        for number, state in kept["state"].items():
            tensors |= {f"optimiser.{number}.{name}": value for name, value in state.items()}
        facts = {
            "history": run.history,
            "best_epoch": run.best_epoch,
            "best_loss": None if math.isinf(run.best_loss) else run.best_loss,
            "stopped": run.stopped,
            "listeners": [listener.state for listener in callbacks],
            "groups": kept["param_groups"],
        }
        self.write(tensors, facts)

    def resume(self, run: TrainingRun, callbacks: Sequence[Callback] = ()) -> None:
        """Bring a fresh run to where one was cut off; nothing happens where there is no such file."""
        found = self.read()
        if found is None:
            return
        tensors, facts = found
        run.network.load_state_dict(_part(tensors, "network."))
        run.best = _part(tensors, "best.")
        run.best_epoch, run.stopped, run.history = facts["best_epoch"], facts["stopped"], facts["history"]
        run.best_loss = math.inf if facts["best_loss"] is None else facts["best_loss"]
        run.optimiser.load_state_dict({"state": _optimiser(tensors), "param_groups": facts["groups"]})
        for listener, remembered in zip(callbacks, facts["listeners"], strict=True):
            listener.state = remembered


def _facts(content: bytes) -> dict[str, Any]:
    """The JSON in a safetensors header: eight bytes of length, then the header itself."""
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    facts: dict[str, Any] = json.loads(header["__metadata__"]["run"])
    return facts


def _part(tensors: Tensors, prefix: str) -> Tensors:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _optimiser(tensors: Tensors) -> dict[int, Tensors]:
    """The optimiser's tensors by parameter number, as its ``load_state_dict`` wants them."""
    state: dict[int, Tensors] = {}
    for name, value in _part(tensors, "optimiser.").items():
        number, _, key = name.partition(".")
        state.setdefault(int(number), {})[key] = value
    return state
