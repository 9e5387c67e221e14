"""Trains a damage model on a folder of recordings, without a server, and leaves everything in one folder.

``python scripts/train_damage.py --data DIR --save-dir DIR --model-type cnn``. The folder is laid out as in
docs/damage.md: ``label/recording.csv``, ``label/specimen/recording.wav``, or with a labels.csv.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import structlog
import typer

if not __package__:
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from cli.console import log_to_stderr, say, told
from errors import TrainingFailed
from prediction.contract import ModelKey
from prediction.damage.intake import KERAS_FILES
from settings import Settings
from storage.datasets.hints import UploadHints
from storage.datasets.store import DatasetStore
from storage.db.sessions import Session
from training_manager import TrainingManager, open_manager

KEY = ModelKey("damage")
REPORTS = ("pdf", "html")


@dataclass(frozen=True)
class TrainingResult:
    """What a training has made.

    Parameters
    ----------
    metrics, baselines : mapping of str to float
        Measured on the test recordings; see docs/damage.md.
    files : mapping of str to Path
        In the save folder, by name: model (model.keras and model.h5, too, where Keras is installed), report,
        model_info.json, training_history.json and the rest.
    log : str
        Everything that was said; also in ``training.log``.
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
    content: str | None = None,
    **options: Any,
) -> TrainingResult:
    """Train on a folder, or a zip, of recordings.

    Parameters
    ----------
    sampling_rate_hz, content
        Of files that do not tell it, as ``POST /datasets`` takes them.
    save_dir : Path
        Made where it is not there; files of the same names are replaced.
    options
        As `POST /train/damage/<name>` takes them, without ``dataset``.

    Raises
    ------
    MillwrightError
        The data or an option cannot be used, or the training failed; nothing is left in ``save_dir``.
    """
    if not structlog.is_configured():
        log_to_stderr()
    with tempfile.TemporaryDirectory() as home:
        manager = open_manager(
            Settings(home=Path(home), sentence_model="none", demo_data=False, tracking_uri="none")
        )
        try:
            dataset = _received(manager, Path(data), UploadHints(sampling_rate_hz, input_kind=content))
            asked = {**options, "dataset": dataset, "model_type": model_type}
            session = manager.train(KEY, None, asked).session
            return _kept(manager, _good(session), Path(save_dir), model_type)
        finally:
            manager.close()


def run_cnn(data: Path | str, save_dir: Path | str, **options: Any) -> TrainingResult:
    """`run_training` with the CNN."""
    return run_training(data, save_dir, "cnn", **options)


def run_resnet(data: Path | str, save_dir: Path | str, **options: Any) -> TrainingResult:
    """`run_training` with the ResNet."""
    return run_training(data, save_dir, "resnet", **options)


def _received(manager: TrainingManager, data: Path, hints: UploadHints) -> str:
    store = DatasetStore(manager.storage.settings.data_dir / "datasets")
    if data.is_dir():
        return store.receive_folder(data, hints=hints).id
    with data.open("rb") as opened:
        return store.receive(opened, data.name, hints=hints).id


def _good(session: Session | None) -> Session:
    if session is None or session.state not in ("completed", "rejected"):
        error = (session.error or {}) if session else {}
        raise TrainingFailed(str(error.get("error") or error.get("message") or "The training failed"))
    return session


def _kept(manager: TrainingManager, session: Session, save_dir: Path, model_type: str) -> TrainingResult:
    """Copy the version's files and the reports, and say what they hold."""
    save_dir.mkdir(parents=True, exist_ok=True)
    version = manager.storage.versions.get(KEY.path, session.version or 1)
    found = [path for path in version.folder.iterdir() if path.name != "manifest.json"]
    found += [manager.reports.file(session.id, KEY.tenant, form) for form in REPORTS]
    if find_spec("keras"):
        found += [manager.downloads.file(KEY, version.number, name) for name in KERAS_FILES]
    files = {path.name: Path(shutil.copyfile(path, save_dir / path.name)) for path in found}
    scores = session.metrics or {}
    return TrainingResult(
        model_type,
        scores["metrics"],
        scores["baselines"],
        scores["beats_baselines"],
        files,
        files["training.log"].read_text(encoding="utf-8"),
    )


def main(
    *,
    data: Annotated[Path, typer.Option(exists=True, help="Folder or zip of recordings.")],
    save_dir: Annotated[Path, typer.Option(help="Folder that receives model and report.")],
    model_type: Annotated[str, typer.Option(help="cnn or resnet.")] = "cnn",
    epochs: Annotated[int, typer.Option(help="Passes over the training windows at most.")] = 30,
    sampling_rate_hz: Annotated[float | None, typer.Option(help="Of files that do not tell it.")] = None,
    content: Annotated[str | None, typer.Option(help="spectrograms, where CSV files are such.")] = None,
) -> None:
    """Train a damage model on a folder of recordings and leave model and report in another.

    What is printed is training.log of the save folder, which the report quotes.
    """
    with told(as_json=False):
        result = run_training(
            data,
            save_dir,
            model_type,
            sampling_rate_hz=sampling_rate_hz,
            content=content,
            epochs=epochs,
        )
    say(result.log.rstrip())


if __name__ == "__main__":
    typer.run(main)
