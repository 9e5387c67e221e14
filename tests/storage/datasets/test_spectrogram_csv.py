"""Column names say whether a CSV file holds a spectrogram."""

from __future__ import annotations

import pytest

from storage.datasets.facts import SPECTROGRAMS, WAVEFORMS
from storage.datasets.recordings.spectrogram_csv import count_images, detect_input_kind

# A search whose time rises with the square of the length would take hours for each.
_LONG = 500_000


@pytest.mark.parametrize("channel", ["", "x ", "x_", "__", "motor 3: ", " a b_:"])
def test_frequencies_behind_a_channel_are_bands(channel: str) -> None:
    names = [f"{channel}{frequency}" for frequency in ("50 Hz", "100.5Hz", " 1kHz", "2 khz ")]
    assert detect_input_kind(names) == SPECTROGRAMS
    assert count_images([*names, *(f"y {name.strip()}" for name in names)] if channel else names) == 1 + bool(
        channel
    )


@pytest.mark.parametrize(
    "name", ["_" * _LONG, " " * _LONG, " " * _LONG + "_" * _LONG, "a_ " * _LONG, "1 " * _LONG]
)
def test_an_endless_name_is_no_band(name: str) -> None:
    assert detect_input_kind([name]) == WAVEFORMS
