"""Vibration of an invented pump's bearings, the same at every run.

Healthy bearings, and bearings with a damaged outer or inner race, each on several machines with resonances and
speeds of their own.
"""

from __future__ import annotations

import io
import random
import wave
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from math import cos, exp, pi, sin

SEED = 20_260
SAMPLING_RATE_HZ = 6_000
CLASSES = ("healthy", "inner race", "outer race")
_IMPACTS_PER_TURN = {"outer race": 3.6, "inner race": 5.4}
# Leaves room for the loudest impact of the loudest machine in 16 bits.
_AMPLITUDE = 32_767 / 12


@dataclass(frozen=True)
class BearingRig:
    """The properties of one machine."""

    speed_hz: float
    resonance_hz: float
    decay_hz: float
    loudness: float
    unbalance: float
    noise: float

    @classmethod
    def generate(cls, rng: random.Random) -> BearingRig:
        """Return a machine with random properties."""
        return cls(
            speed_hz=rng.uniform(22, 32),
            resonance_hz=rng.uniform(1_300, 2_300),
            decay_hz=rng.uniform(150, 350),
            loudness=rng.uniform(0.7, 1.4),
            unbalance=rng.uniform(0.3, 1.0),
            noise=rng.uniform(0.2, 0.4),
        )


def generate_recording(label: str, rig: BearingRig, seconds: float, rng: random.Random) -> list[float]:
    """Return samples of the rotating shaft, noise, and a ringing at each impact on the damaged race."""
    speed_hz, load = rig.speed_hz * rng.uniform(0.97, 1.03), rng.uniform(0.8, 1.2)
    phase = rng.uniform(0, 2 * pi)
    samples = []
    for index in range(int(seconds * SAMPLING_RATE_HZ)):
        angle = 2 * pi * speed_hz * index / SAMPLING_RATE_HZ + phase
        shaft = rig.unbalance * (sin(angle) + 0.4 * sin(2 * angle) + 0.2 * sin(3 * angle))
        samples.append(shaft + rng.gauss(0, rig.noise))
    if label in _IMPACTS_PER_TURN:
        _add_impacts(samples, label, rig, speed_hz, rng)
    return [rig.loudness * load * sample for sample in samples]


def _add_impacts(
    samples: list[float], label: str, rig: BearingRig, speed_hz: float, rng: random.Random
) -> None:
    """Add the impacts; those of the inner race are loudest in the loaded zone, once per turn."""
    interval = 1 / (_IMPACTS_PER_TURN[label] * speed_hz)
    time = rng.uniform(0, interval)
    while time * SAMPLING_RATE_HZ < len(samples):
        amplitude = 1.6 * rng.uniform(0.8, 1.2)
        if label == "inner race":
            amplitude *= 0.5 + 0.5 * cos(2 * pi * speed_hz * time)
        first = int(time * SAMPLING_RATE_HZ) + 1
        for index in range(first, min(len(samples), first + SAMPLING_RATE_HZ // 40)):
            elapsed = index / SAMPLING_RATE_HZ - time
            samples[index] += (
                amplitude * exp(-rig.decay_hz * elapsed) * sin(2 * pi * rig.resonance_hz * elapsed)
            )
        time += interval * rng.uniform(0.98, 1.02)


def generate_files(
    specimens: int = 6, recordings: int = 2, seconds: float = 1.0, seed: int = SEED
) -> Iterator[tuple[str, bytes]]:
    """Yield names, ``label/specimen/recording.wav``, and contents of WAV files.

    Every specimen is another machine, so that a model has to learn the damage and not the machine.
    """
    rng = random.Random(seed)
    for label in CLASSES:
        for specimen in range(1, specimens + 1):
            rig = BearingRig.generate(rng)
            for number in range(1, recordings + 1):
                name = f"{label}/{label.split()[0]}-{specimen}/{number}.wav"
                yield name, encode_wav(generate_recording(label, rig, seconds, rng))


def encode_wav(samples: list[float]) -> bytes:
    """Return a WAV file of 16 bits."""
    file = io.BytesIO()
    with wave.open(file, "wb") as target:
        target.setnchannels(1)
        target.setsampwidth(2)
        target.setframerate(SAMPLING_RATE_HZ)
        integers = (max(-32_768, min(32_767, round(_AMPLITUDE * sample))) for sample in samples)
        target.writeframes(array("h", integers).tobytes())
    return file.getvalue()
