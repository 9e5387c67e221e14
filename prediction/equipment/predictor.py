"""Serving: scores, episodes, contributions and health of an asset's rows, with NumPy alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NotRequired, Self, TypedDict

import numpy as np

from errors import InvalidContent
from prediction.contract import Options, Predictor, Resources
from prediction.equipment.judgement import Contribution, Judgement, judge
from prediction.equipment.model.equipment_model import EquipmentModel
from prediction.telemetry import telemetry_from_rows

RUNNING: Final = "running"
OFF: Final = "off"


class AssetInput(TypedDict):
    """One input of a prediction: rows of an asset, oldest first, or a period whose rows are stored.

    ``times`` are microseconds since 1970; without ``dated`` they only keep the order. The first ``context`` rows are
    history that scores depend on, and get no answer.
    """

    device_id: str | None
    rows: Sequence[Mapping[str, float]]
    times: Sequence[int]
    dated: bool
    context: int


class EpisodeAnswer(TypedDict):
    """An episode of alarms; rows are counted from 1, ``start`` and ``end`` are None without times."""

    episode: int
    start: str | None
    end: str | None
    first_row: int
    last_row: int
    alarms: int
    max_score: float
    min_health: float
    contributions: list[Contribution]


class RowAnswer(TypedDict):
    """The judgement on one row; a row of off time has no more than its ``state``."""

    timestamp: str | None
    state: str
    score: NotRequired[float]
    is_alarm: NotRequired[bool]
    episode: NotRequired[int | None]
    health: NotRequired[float]
    condition: NotRequired[int]
    contributions: NotRequired[list[Contribution]]


class AssetAnswer(TypedDict):
    """The answer for one stretch of rows; ``health`` is that of the last row of running time, None without one."""

    device_id: str
    as_of: str | None
    ignored_channels: list[str]
    is_alarm: bool
    health: float | None
    episodes: list[EpisodeAnswer]
    rows: list[RowAnswer]


class EquipmentPredictor(Predictor[AssetInput, AssetAnswer]):
    """The detector of one asset."""

    def __init__(self, model: EquipmentModel) -> None:
        self.model = model

    @classmethod
    def load(cls, folder: Path, resources: Resources) -> Self:
        return cls(EquipmentModel.load(folder))

    def predict(self, inputs: Sequence[AssetInput], options: Options) -> list[AssetAnswer]:
        """Return one answer for each stretch of rows."""
        return [self._answer(request) for request in inputs]

    @classmethod
    def agrees(cls, answer: AssetAnswer, other: AssetAnswer) -> bool:
        """Return whether both see an alarm, or both see none."""
        return answer["is_alarm"] == other["is_alarm"]

    def _answer(self, request: AssetInput) -> AssetAnswer:
        rows, times, context = request["rows"], request["times"], request["context"]
        if not rows:
            raise InvalidContent("There are no rows to judge")
        if not request["dated"]:
            interval = self.model.preprocessor.layout.interval
            times = [round(number * interval) for number in range(len(rows))]
        telemetry = telemetry_from_rows(rows, times, request["device_id"])
        judgement = judge(self.model, telemetry, np.arange(len(telemetry)) >= context)
        instants = [
            datetime.fromtimestamp(time / 1e6, UTC).isoformat(timespec="seconds")
            if request["dated"]
            else None
            for time in telemetry.times.tolist()
        ]
        places = {position: row for row, position in enumerate(judgement.positions.tolist())}
        health = judgement.scores.health[judgement.positions >= context]
        return {
            "device_id": request["device_id"] or self.model.device_id,
            "as_of": instants[-1],
            # A hundred at most: rows may have any number of them.
            "ignored_channels": sorted(
                set(telemetry.channels) - set(self.model.preprocessor.layout.required)
            )[:100],
            "is_alarm": bool(judgement.is_alarm.any()),
            "health": float(health[-1]) if len(health) else None,
            "episodes": [
                {
                    "episode": number,
                    "start": instants[judgement.positions[episode.rows[0]]],
                    "end": instants[judgement.positions[episode.rows[-1]]],
                    "first_row": int(judgement.positions[episode.rows[0]]) - context + 1,
                    "last_row": int(judgement.positions[episode.rows[-1]]) - context + 1,
                    "alarms": len(episode.rows),
                    "max_score": episode.max_score,
                    "min_health": episode.min_health,
                    "contributions": episode.contributions,
                }
                for number, episode in enumerate(judgement.list_episodes(), 1)
            ],
            "rows": [
                _describe_row(judgement, places.get(position), instants[position])
                for position in range(context, len(telemetry))
            ],
        }


def _describe_row(judgement: Judgement, row: int | None, instant: str | None) -> RowAnswer:
    """Return the judgement on one row; None stands for a row of off time."""
    if row is None:
        return {"timestamp": instant, "state": OFF}
    return {
        "timestamp": instant,
        "state": RUNNING,
        "score": float(judgement.scores.score[row]),
        "is_alarm": bool(judgement.is_alarm[row]),
        "episode": int(judgement.episode[row]) or None,
        "health": float(judgement.scores.health[row]),
        "condition": int(judgement.condition[row]),
        "contributions": judgement.contributions(row),
    }
