"""One recording: samples of one or more channels, read from a WAV file or a CSV text."""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from errors import InvalidContent
from storage.datasets.recordings.spectrogram_csv import WAVEFORMS

_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
MAX_CHANNELS: Final = 64
MAX_SAMPLE: Final = 1e15
"""Of a sample: float32 holds no sums of squares of larger ones."""
MIN_RATE_HZ, MAX_RATE_HZ = 1e-6, 1e9


@dataclass(frozen=True)
class Waveform:
    """What one sensor, or several at once, recorded.

    Parameters
    ----------
    channels : tuple of str
    samples : ndarray of float32, shape (samples, channels)
        NaN where a cell was empty.
    sampling_rate_hz : float, optional
        None where the file does not tell.
    steady : bool
        False where the time column has steps that differ by more than 1 %.
    content : str
        ``"spectrograms"`` where rows are moments of a spectrogram, and channels its bands.
    """

    channels: tuple[str, ...]
    samples: NDArray[np.float32]
    sampling_rate_hz: float | None = None
    steady: bool = True
    content: str = WAVEFORMS

    def __post_init__(self) -> None:
        """Refuse what no spectrum can be made of."""
        rate = self.sampling_rate_hz
        if not len(self.samples):
            raise InvalidContent("it holds no samples")
        if rate is not None and not MIN_RATE_HZ <= rate <= MAX_RATE_HZ:
            raise InvalidContent(
                f"its sampling rate is {rate:g} Hz; rates lie between {MIN_RATE_HZ:g} and {MAX_RATE_HZ:g} Hz"
            )
        extreme: NDArray[np.bool_] = np.abs(self.samples) > MAX_SAMPLE
        if extreme.any():
            row, column = np.argwhere(extreme)[0].tolist()
            value, channel = self.samples[row, column], self.channels[column]
            raise InvalidContent(
                f"row {row + 1} of {channel[:60]!r} holds {value:g}; "
                f"samples lie between {-MAX_SAMPLE:g} and {MAX_SAMPLE:g}"
            )


def read_wav(content: bytes) -> Waveform:
    """A WAV file (RIFF): PCM of 8 to 32 bits scaled to ±1, or floating point.

    Raises
    ------
    InvalidContent
        It is no such file, or cut off before its first sample.
    """
    head, body = _chunks(content)
    if head is None or body is None or len(head) < 16:
        raise InvalidContent("no WAV file: its format or its samples are missing")
    kind, channels, rate, _, frame, bits = struct.unpack_from("<HHIIHH", head)
    if kind == _EXTENSIBLE and len(head) >= 26:
        (kind,) = struct.unpack_from("<H", head, 24)
    if not 1 <= channels <= MAX_CHANNELS or not rate or not bits or frame != channels * ((bits + 7) // 8):
        raise InvalidContent("a WAV file whose format makes no sense")
    flat = _decoded(body[: len(body) // frame * frame], kind, bits)
    names = tuple(f"channel_{number}" for number in range(1, channels + 1))
    return Waveform(names, flat.reshape(-1, channels), float(rate))


def encode_wav(samples: NDArray[np.floating], sampling_rate_hz: int) -> bytes:
    """A WAV file of 32-bit floats from samples ``(samples, channels)``."""
    data = np.ascontiguousarray(samples, dtype="<f4")
    channels = data.shape[1]
    head = struct.pack(
        "<HHIIHH", _FLOAT, channels, sampling_rate_hz, sampling_rate_hz * channels * 4, channels * 4, 32
    )
    body = data.tobytes()
    size = 4 + 8 + len(head) + 8 + len(body)
    made = io.BytesIO()
    made.write(b"RIFF" + struct.pack("<I", size) + b"WAVEfmt " + struct.pack("<I", len(head)) + head)
    made.write(b"data" + struct.pack("<I", len(body)) + body)
    return made.getvalue()


def _chunks(content: bytes) -> tuple[bytes | None, memoryview | None]:
    """The ``fmt`` and the ``data`` chunk; data may be cut off, as recorders that lose power leave it."""
    if content[:4] != b"RIFF" or content[8:12] != b"WAVE":
        raise InvalidContent("no WAV file: it does not begin with RIFF … WAVE")
    head: bytes | None = None
    place, view = 12, memoryview(content)
    while place + 8 <= len(content):
        name, (size,) = content[place : place + 4], struct.unpack_from("<I", content, place + 4)
        if name == b"fmt ":
            head = content[place + 8 : place + 8 + size]
        if name == b"data":
            return head, view[place + 8 : place + 8 + size]
        place += 8 + size + size % 2
    return head, None


def _decoded(body: memoryview, kind: int, bits: int) -> NDArray[np.float32]:
    if kind == _FLOAT and bits in {32, 64}:
        with np.errstate(over="ignore"):  # a waveform refuses what is too large
            return np.frombuffer(body, dtype=f"<f{bits // 8}").astype(np.float32)
    if kind != _PCM or bits not in {8, 16, 24, 32}:
        raise InvalidContent(f"a WAV file in a format that is not read (kind {kind}, {bits} bits)")
    if bits == 8:
        return (np.frombuffer(body, dtype=np.uint8).astype(np.float32) - 128) / np.float32(128)
    if bits == 24:
        low, middle, high = np.frombuffer(body, dtype=np.uint8).reshape(-1, 3).T.astype(np.int32)
        wide = (low << 8 | middle << 16 | high << 24) >> 8
        return (wide / 2**23).astype(np.float32)
    whole: NDArray[np.float64] = np.frombuffer(body, dtype=f"<i{bits // 8}") / 2.0 ** (bits - 1)
    return whole.astype(np.float32)
