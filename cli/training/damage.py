"""Train a damage model on a folder of recordings, without a server.

The folder is laid out as in docs/damage.md: ``label/recording.csv``, ``label/specimen/recording.wav``, or with
a labels.csv.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import structlog
import typer

from cli.console import echo, log_to_stderr
from errors import TrainingFailed
from settings import Settings
from storage.filesystem.checked_write import write_checked

if TYPE_CHECKING:
    from storage.db.sessions import Session
    from training_manager import TrainingManager

_REPORT_FORMATS = ("pdf", "html")


@dataclass(frozen=True)
class DamageTrainingResult:
    """The result of a training.

    Parameters
    ----------
    metrics, baselines : mapping of str to float
        Measured on the test recordings; see docs/damage.md.
    files : mapping of str to Path
        Files of the save folder by name: the model (model.keras and model.h5, too, where Keras is installed),
        the report, model_info.json, training_history.json and the rest.
    log : str
        The output of the training; also in ``training.log``.
    """

    model_type: str
    metrics: Mapping[str, float]
    baselines: Mapping[str, float]
    beats_baselines: bool
    files: Mapping[str, Path]
    log: str


def run_training(
    data: Path | str,
    save_dir: Path | str,
    model_type: str = "cnn",
    *,
    sampling_rate_hz: float | None = None,
    input_kind: str | None = None,
    **options: object,
) -> DamageTrainingResult:
    """Train on a folder, or a zip, of recordings.

    Parameters
    ----------
    save_dir : Path
        Created where it does not exist; files of the same names are replaced.
    sampling_rate_hz, input_kind
        Of files that do not state it, as ``POST /datasets`` takes them.
    options
        As ``POST /train/damage/<name>`` takes them, without ``dataset``.

    Raises
    ------
    MillwrightError
        The data or an option cannot be used, or the training failed; nothing is left in ``save_dir``.
    """
    from prediction.contract import ModelKey
    from storage.datasets.hints import UploadHints
    from training_manager import open_manager

    if not structlog.is_configured():
        log_to_stderr()
    with tempfile.TemporaryDirectory() as home:
        settings = Settings(home=Path(home), sentence_model="none", demo_data=False, tracking_uri="none")
        manager = open_manager(settings)
        try:
            store, hints = manager.datasets, UploadHints(sampling_rate_hz, input_kind=input_kind)
            source = Path(data)
            if source.is_dir():
                dataset = store.receive_folder(source, hints=hints)
            else:
                with source.open("rb") as opened:
                    dataset = store.receive(opened, source.name, hints=hints)
            request = {**options, "dataset": dataset.id, "model_type": model_type}
            session = manager.train(ModelKey("damage"), None, request).session
            return _save(manager, _require_version(session), Path(save_dir), model_type)
        finally:
            manager.close()


def run_cnn(data: Path | str, save_dir: Path | str, **options: Any) -> DamageTrainingResult:
    """Train the CNN; see `run_training`."""
    return run_training(data, save_dir, "cnn", **options)


def run_resnet(data: Path | str, save_dir: Path | str, **options: Any) -> DamageTrainingResult:
    """Train the ResNet; see `run_training`."""
    return run_training(data, save_dir, "resnet", **options)


def _require_version(session: Session | None) -> Session:
    if session is None or session.state not in ("completed", "rejected"):
        error = (session.error or {}) if session else {}
        raise TrainingFailed(str(error.get("error") or error.get("message") or "The training failed"))
    return session


def _save(
    manager: TrainingManager, session: Session, save_dir: Path, model_type: str
) -> DamageTrainingResult:
    """Copy the files of the version and the reports into the save folder."""
    from prediction.contract import ModelKey
    from prediction.damage.requests import KERAS_FILES

    key = ModelKey("damage")
    save_dir.mkdir(parents=True, exist_ok=True)
    version = manager.models.version(key, session.version or 1)
    paths = [path for path in version.folder.iterdir() if path.name != "manifest.json"]
    paths += [manager.reports.file(session.id, key.tenant, file_format) for file_format in _REPORT_FORMATS]
    if find_spec("keras"):
        paths += [manager.downloads.file(key, version.number, name) for name in KERAS_FILES]
    files = {path.name: save_dir / path.name for path in paths}
    for path in paths:
        write_checked(files[path.name], path.read_bytes())
    scores = session.metrics or {}
    return DamageTrainingResult(
        model_type,
        scores["metrics"],
        scores["baselines"],
        scores["beats_baselines"],
        files,
        files["training.log"].read_text(encoding="utf-8"),
    )


def train_damage(
    *,
    data: Annotated[Path, typer.Option(exists=True, help="Folder or zip of recordings.")],
    save_dir: Annotated[Path, typer.Option(help="Folder that receives model and report.")],
    model_type: Annotated[str, typer.Option(help="cnn or resnet.")] = "cnn",
    epochs: Annotated[int, typer.Option(help="Maximum passes over the training windows.")] = 30,
    sampling_rate_hz: Annotated[float | None, typer.Option(help="Of files that do not state it.")] = None,
    input_kind: Annotated[str | None, typer.Option(help="spectrograms, for CSV files of those.")] = None,
) -> None:
    """Train a damage model on a folder of recordings, without a server.

    The output is training.log of the save folder, which the report quotes.
    """
    result = run_training(
        data, save_dir, model_type, sampling_rate_hz=sampling_rate_hz, input_kind=input_kind, epochs=epochs
    )
    echo(result.log.rstrip())
