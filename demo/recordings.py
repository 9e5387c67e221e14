"""Believable vibration of an invented pump's bearings, the same at every run.

``python demo/recordings.py plant.zip`` writes a zip of WAV files, ``label/specimen/recording.wav``:
healthy bearings, and ones whose outer or inner race is damaged, each on several machines with resonances and
speeds of their own.
"""

from __future__ import annotations

import argparse
import io
import random
import wave
import zipfile
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from math import cos, exp, pi, sin
from pathlib import Path

SEED = 20_260
RATE_HZ = 6_000
CLASSES = ("healthy", "inner race", "outer race")
_IMPACTS_A_TURN = {"outer race": 3.6, "inner race": 5.4}
_LOUDEST = 32_767 / 12


@dataclass(frozen=True)
class BearingRig:
    """What is peculiar to one specimen."""

    speed_hz: float
    resonance_hz: float
    decay_hz: float
    loudness: float
    unbalance: float
    noise: float

    @classmethod
    def of(cls, chance: random.Random) -> BearingRig:
        """A machine as it might come out of the factory."""
        return cls(
            speed_hz=chance.uniform(22, 32),
            resonance_hz=chance.uniform(1_300, 2_300),
            decay_hz=chance.uniform(150, 350),
            loudness=chance.uniform(0.7, 1.4),
            unbalance=chance.uniform(0.3, 1.0),
            noise=chance.uniform(0.2, 0.4),
        )


def recording(label: str, machine: BearingRig, seconds: float, chance: random.Random) -> list[float]:
    """Samples at 6 kHz: the shaft's turning, noise, and a ringing at each impact on the damaged race."""
    count = int(seconds * RATE_HZ)
    turning, load = machine.speed_hz * chance.uniform(0.97, 1.03), chance.uniform(0.8, 1.2)
    phase = chance.uniform(0, 2 * pi)
    samples = []
    for place in range(count):
        angle = 2 * pi * turning * place / RATE_HZ + phase
        shaft = machine.unbalance * (sin(angle) + 0.4 * sin(2 * angle) + 0.2 * sin(3 * angle))
        samples.append(shaft + chance.gauss(0, machine.noise))
    if label in _IMPACTS_A_TURN:
        _ring(samples, label, machine, turning, chance)
    return [machine.loudness * load * sample for sample in samples]


def _ring(
    samples: list[float], label: str, machine: BearingRig, turning: float, chance: random.Random
) -> None:
    """Add the impacts; on the inner race they are loud where the load is, once a turn."""
    step = 1 / (_IMPACTS_A_TURN[label] * turning)
    moment = chance.uniform(0, step)
    while moment * RATE_HZ < len(samples):
        loud = 1.6 * chance.uniform(0.8, 1.2)
        if label == "inner race":
            loud *= 0.5 + 0.5 * cos(2 * pi * turning * moment)
        first = int(moment * RATE_HZ) + 1
        for place in range(first, min(len(samples), first + RATE_HZ // 40)):
            since = place / RATE_HZ - moment
            ringing = exp(-machine.decay_hz * since) * sin(2 * pi * machine.resonance_hz * since)
            samples[place] += loud * ringing
        moment += step * chance.uniform(0.98, 1.02)


def files(
    specimens: int = 6, recordings: int = 2, seconds: float = 1.0, seed: int = SEED
) -> Iterator[tuple[str, bytes]]:
    """Names and contents of the WAV files; every damage is another machine."""
    chance = random.Random(seed)
    for label in CLASSES:
        for specimen in range(1, specimens + 1):
            machine = BearingRig.of(chance)
            for number in range(1, recordings + 1):
                name = f"{label}/{label.split()[0]}-{specimen}/{number}.wav"
                yield name, wav(recording(label, machine, seconds, chance))


def wav(samples: list[float]) -> bytes:
    """A WAV file of 16 bits."""
    made = io.BytesIO()
    with wave.open(made, "wb") as target:
        target.setnchannels(1)
        target.setsampwidth(2)
        target.setframerate(RATE_HZ)
        whole = (max(-32_768, min(32_767, round(_LOUDEST * sample))) for sample in samples)
        target.writeframes(array("h", whole).tobytes())
    return made.getvalue()


def main() -> None:
    """Write the demo recordings as a zip archive."""
    command = argparse.ArgumentParser(description=main.__doc__)
    command.add_argument("file", type=Path)
    command.add_argument("--specimens", type=int, default=6, help="machines a class (default: %(default)s)")
    command.add_argument("--recordings", type=int, default=2, help="a machine (default: %(default)s)")
    command.add_argument("--seconds", type=float, default=1.0, help="a recording (default: %(default)s)")
    asked = command.parse_args()
    with zipfile.ZipFile(asked.file, "w", zipfile.ZIP_DEFLATED) as target:
        for name, content in files(asked.specimens, asked.recordings, asked.seconds):
            target.writestr(zipfile.ZipInfo(name), content)
    print(f"{len(CLASSES) * asked.specimens * asked.recordings} recordings written to {asked.file}")


if __name__ == "__main__":
    main()
