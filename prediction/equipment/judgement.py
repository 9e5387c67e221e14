"""The judgement on an asset's telemetry: scores, episodes, and the channels behind them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypedDict

import numpy as np
from numpy.typing import NDArray

from prediction.equipment.model.detector import RowScores
from prediction.equipment.model.equipment_model import EquipmentModel
from prediction.equipment.model.limits import number_episodes
from prediction.equipment.model.rows import Floats, Mask
from storage.devices.telemetry import DeviceTelemetry

MAX_CONTRIBUTIONS: Final = 5
# Contributions below this share say nothing.
_MIN_SHARE: Final = 0.01


class Contribution(TypedDict):
    """A channel and its share of what raised the score, between 0 and 1."""

    channel: str
    share: float


@dataclass(frozen=True)
class JudgedEpisode:
    """Alarms that follow each other closely.

    Parameters
    ----------
    rows : int64
        Places of the alarms among the running rows, in order of time.
    max_score, min_health : float
    contributions : list of Contribution
        Mean over the alarms, weighted by their scores.
    """

    rows: NDArray[np.int64]
    max_score: float
    min_health: float
    contributions: list[Contribution]


@dataclass(frozen=True)
class Judgement:
    """What a model says about telemetry.

    Parameters
    ----------
    channels : sequence of str
    positions, times : int64, shape (n,)
        Of the running rows: in the telemetry, and in microseconds since 1970.
    scores : RowScores
    condition : int64, shape (n,)
        Operating condition, from 1.
    is_alarm : bool, shape (n,)
        Rows that only give history are none.
    episode : int64, shape (n,)
        Number of the episode, from 1; 0 where there is no alarm.
    shares : shape (n, channels)
        Contributions to the alarms; zero elsewhere.
    """

    channels: Sequence[str]
    positions: NDArray[np.int64]
    times: NDArray[np.int64]
    scores: RowScores
    condition: NDArray[np.int64]
    is_alarm: NDArray[np.bool_]
    episode: NDArray[np.int64]
    shares: Floats

    def list_episodes(self) -> list[JudgedEpisode]:
        """Return the episodes in order of time."""
        episodes = []
        for number in range(1, int(self.episode.max(initial=0)) + 1):
            rows = np.flatnonzero(self.episode == number)
            scores = self.scores.score[rows]
            shares = np.average(self.shares[rows], axis=0, weights=scores)
            health = float(self.scores.health[rows].min())
            episodes.append(JudgedEpisode(rows, float(scores.max()), health, self._rank(shares)))
        return episodes

    def contributions(self, row: int) -> list[Contribution]:
        """Return the channels that contribute most to an alarm; none where there is no alarm."""
        return self._rank(self.shares[row])

    def _rank(self, shares: Floats) -> list[Contribution]:
        order = np.argsort(-shares, kind="stable")[:MAX_CONTRIBUTIONS]
        return [
            {"channel": self.channels[column], "share": float(shares[column])}
            for column in order.tolist()
            if shares[column] >= _MIN_SHARE
        ]


def judge(model: EquipmentModel, telemetry: DeviceTelemetry, is_asked: Mask) -> Judgement:
    """Judge telemetry in order of time.

    Parameters
    ----------
    is_asked : bool, shape (rows,)
        The other rows only give history to scores: none of them is an alarm.

    Raises
    ------
    InvalidContent
        A channel that the model reads is missing.
    """
    layout = model.preprocessor.layout
    running = layout.take_running_rows(telemetry)
    rows = model.preprocessor.normalise(running)
    scores = model.detector.score(rows)
    alarms = scores.alarms & is_asked[running.positions]
    return Judgement(
        channels=layout.channels,
        positions=running.positions,
        times=running.times,
        scores=scores,
        condition=rows.condition + 1,
        is_alarm=alarms,
        episode=number_episodes(alarms),
        shares=model.detector.explain(rows, np.where(alarms, scores.leading, -1)),
    )
