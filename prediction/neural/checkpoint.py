"""Checkpoints of trainings: one safetensors file each, replaced atomically, without pickle."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypedDict, cast

import structlog
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from prediction.neural.callbacks import Callback, EpochRecord, TrainingRun
from storage.filesystem.checked_write import write_atomic

log = structlog.get_logger()

Tensors = dict[str, Tensor]

_MAX_AGE_DAYS = 14


class RunState(TypedDict):
    """What the header of a checkpoint says about its run, besides the tensors.

    ``best_loss`` is None where no epoch was validated, ``groups`` are the optimiser's parameter groups.
    """

    history: list[EpochRecord]
    best_epoch: int
    best_loss: float | None
    stopped: str
    listeners: list[dict[str, float]]
    groups: list[dict[str, object]]


class Checkpoint:
    """The file in which a run stores its tensors, with its other state as JSON in the header.

    Parameters
    ----------
    path : Path
        The file; its folder exists.
    identity : str
        The run that may resume from it: a hash of data, options and seed. A file of another run is ignored.
    pause_seconds : float
        Minimum time between two writes, so that short epochs do not wait for the disk.
    """

    def __init__(self, path: Path, identity: str = "", pause_seconds: float = 1.0) -> None:
        self.path = path
        self.identity = identity
        self._pause_seconds = pause_seconds
        self._last_write = -pause_seconds

    @classmethod
    def for_training(cls, folder: Path | None, identity_facts: Sequence[object]) -> Checkpoint | None:
        """Return the checkpoint of a training: equal data, options and torch share a file.

        Parameters
        ----------
        folder : Path, optional
            Of all trainings' checkpoints; files older than two weeks are deleted. None stores nothing.
        identity_facts : sequence
            JSON that identifies the training: the data's fingerprint and the options.
        """
        if folder is None:
            return None
        facts = json.dumps([*identity_facts, torch.__version__], sort_keys=True)
        identity = hashlib.sha256(facts.encode()).hexdigest()
        folder.mkdir(parents=True, exist_ok=True)
        for file in folder.glob("*.safetensors"):
            if time.time() - file.stat().st_mtime > _MAX_AGE_DAYS * 86_400:
                file.unlink(missing_ok=True)
        return cls(folder / f"{identity[:32]}.safetensors", identity)

    @classmethod
    @contextmanager
    def temporary_for(
        cls, folder: Path | None, identity_facts: Sequence[object]
    ) -> Iterator[Checkpoint | None]:
        """Yield the checkpoint of :meth:`for_training`; delete it if the block ends without an error."""
        checkpoint = cls.for_training(folder, identity_facts)
        yield checkpoint
        if checkpoint is not None:
            for file in checkpoint.path.parent.glob(f"{checkpoint.path.stem}*{checkpoint.path.suffix}"):
                file.unlink(missing_ok=True)

    def for_variant(self, name: str) -> Checkpoint:
        """Return the same file for a run with another identity: of the choice that ``auto`` made."""
        return Checkpoint(self.path, f"{self.identity} {name}", self._pause_seconds)

    def for_member(self, number: int) -> Checkpoint:
        """Return a file for one network of an ensemble, so that finished members stay finished."""
        path = self.path.with_name(f"{self.path.stem}-{number}{self.path.suffix}")
        return Checkpoint(path, f"{self.identity} member {number}", self._pause_seconds)

    def is_due(self) -> bool:
        """Return whether enough time has passed since the last write."""
        return time.monotonic() - self._last_write >= self._pause_seconds

    def write(self, tensors: Mapping[str, Tensor], state: RunState) -> None:
        """Replace the file; after a power cut it holds either the old content or the new one."""
        header = json.dumps({"identity": self.identity, **state})
        copies = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
        write_atomic(self.path, save(copies, metadata={"run": header}))
        self._last_write = time.monotonic()

    def read(self) -> tuple[Tensors, RunState] | None:
        """Return tensors and state of the run; None for a missing or damaged file or that of another run."""
        try:
            content = self.path.read_bytes()
            # A safetensors file starts with eight bytes of header length, then the header as JSON.
            header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
            state = json.loads(header["__metadata__"]["run"])
            tensors = load(content)
        except FileNotFoundError:
            return None
        except (SafetensorError, ValueError, KeyError) as error:
            log.warning("checkpoint_ignored", file=str(self.path), reason=str(error))
            return None
        return (tensors, cast(RunState, state)) if state.pop("identity") == self.identity else None

    def save(self, run: TrainingRun, callbacks: Sequence[Callback] = ()) -> None:
        """Write the state of a run between two epochs."""
        tensors = {f"network.{name}": value for name, value in run.network.state_dict().items()}
        tensors |= {f"best.{name}": value for name, value in run.best.items()}
        optimizer = run.optimizer.state_dict()
        for number, values in optimizer["state"].items():
            tensors |= {f"optimiser.{number}.{name}": value for name, value in values.items()}
        state: RunState = {
            "history": run.history,
            "best_epoch": run.best_epoch,
            "best_loss": None if math.isinf(run.best_loss) else run.best_loss,
            "stopped": run.stop_reason,
            "listeners": [callback.state for callback in callbacks],
            "groups": optimizer["param_groups"],
        }
        self.write(tensors, state)

    def resume(self, run: TrainingRun, callbacks: Sequence[Callback] = ()) -> None:
        """Restore the state of an interrupted run; do nothing where there is no checkpoint."""
        stored = self.read()
        if stored is None:
            return
        tensors, state = stored
        run.network.load_state_dict(_with_prefix(tensors, "network."))
        run.best = _with_prefix(tensors, "best.")
        run.best_epoch, run.stop_reason, run.history = state["best_epoch"], state["stopped"], state["history"]
        run.best_loss = math.inf if state["best_loss"] is None else state["best_loss"]
        # load_state_dict wants the optimiser's tensors by parameter number.
        by_parameter: dict[int, Tensors] = {}
        for name, value in _with_prefix(tensors, "optimiser.").items():
            number, _, key = name.partition(".")
            by_parameter.setdefault(int(number), {})[key] = value
        run.optimizer.load_state_dict({"state": by_parameter, "param_groups": state["groups"]})
        for callback, callback_state in zip(callbacks, state["listeners"], strict=True):
            callback.state = callback_state


def _with_prefix(tensors: Tensors, prefix: str) -> Tensors:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
