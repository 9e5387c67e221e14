"""One recording: samples of one or more channels, and sound files read into it."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from errors import InvalidContent
from storage.datasets.facts import WAVEFORMS
from storage.datasets.hints import MAX_CHANNELS

# float32 cannot hold the sum of squares of larger samples.
MAX_SAMPLE: Final = 1e15
MIN_RATE_HZ, MAX_RATE_HZ = 1e-6, 1e9
# Of one sound file as float32: FLAC packs an hour of silence into kilobytes.
MAX_SAMPLE_BYTES: Final = 1 << 30
SOUND_SUFFIXES: Final = (".wav", ".flac", ".aiff", ".aif")
_SOUND_FORMATS: Final = {"WAV", "WAVEX", "RF64", "FLAC", "AIFF"}
_UNKNOWN_SIZE: Final = 0xFFFFFFFF
_SOUND_MAGIC: Final = (b"RIFF", b"RF64", b"fLaC", b"FORM")


@dataclass(frozen=True)
class Waveform:
    """What one sensor, or several at once, recorded.

    Parameters
    ----------
    channels : tuple of str
    samples : ndarray of float32, shape (samples, channels)
        NaN where a cell was empty.
    sampling_rate_hz : float, optional
        None where the file does not state it.
    is_steady : bool
        False where the time column has steps that differ by more than 1 %.
    input_kind : str
        ``"spectrograms"`` where rows are moments of a spectrogram, and channels its bands.
    loss : str
        Which part of the recording its file holds, where it was cut off; empty otherwise.
    """

    channels: tuple[str, ...]
    samples: NDArray[np.float32]
    sampling_rate_hz: float | None = None
    is_steady: bool = True
    input_kind: str = WAVEFORMS
    loss: str = ""

    def __post_init__(self) -> None:
        """Refuse samples of which no spectrum can be computed."""
        rate = self.sampling_rate_hz
        if not len(self.samples):
            raise InvalidContent("it holds no samples")
        if rate is not None and not MIN_RATE_HZ <= rate <= MAX_RATE_HZ:
            raise InvalidContent(
                f"its sampling rate is {rate:g} Hz; rates lie between {MIN_RATE_HZ:g} and {MAX_RATE_HZ:g} Hz"
            )
        is_extreme: NDArray[np.bool_] = np.abs(self.samples) > MAX_SAMPLE
        if is_extreme.any():
            row, column = np.argwhere(is_extreme)[0].tolist()
            value, channel = self.samples[row, column], self.channels[column]
            raise InvalidContent(
                f"row {row + 1} of {channel[:60]!r} holds {value:g}; "
                f"samples lie between {-MAX_SAMPLE:g} and {MAX_SAMPLE:g}"
            )


def is_sound_file(content: bytes) -> bool:
    """Tell whether a file begins like a sound file of a known format."""
    return content.startswith(_SOUND_MAGIC)


def read_sound_file(content: bytes, max_sample_bytes: int = MAX_SAMPLE_BYTES) -> Waveform:
    """Read a WAV, FLAC or AIFF file: whole numbers are scaled to ±1, floating point stays as it is.

    A WAV file that was cut off, as by a recorder that lost power, is read up to its last whole sample.

    Parameters
    ----------
    max_sample_bytes : int
        Most bytes that the samples may take as float32.

    Raises
    ------
    InvalidContent
        It is no such file, damaged, or too large.
    """
    # Loads libsndfile (3.4 MB), which a worker needs only when somebody sends a sound file.
    import soundfile

    try:
        with soundfile.SoundFile(io.BytesIO(content)) as file:
            channels, rate, size = file.channels, file.samplerate, file.frames * file.channels * 4
            if file.format not in _SOUND_FORMATS:
                raise InvalidContent(f"a sound file of the format {file.format}; send WAV, FLAC or AIFF")
            if channels > MAX_CHANNELS:
                raise InvalidContent(f"{channels} channels; a recording has 1 to {MAX_CHANNELS}")
            # What the header states is allocated at once, also where the file holds less.
            if size > max_sample_bytes:
                raise InvalidContent(f"it unfolds to more than {max_sample_bytes >> 20} MB")
            stated = file.frames
            samples = file.read(dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise InvalidContent(f"no sound file that can be read: {error.error_string}") from error
    names = tuple(f"channel_{number}" for number in range(1, channels + 1))
    return Waveform(names, samples, float(rate), loss=_describe_loss(content, stated, len(samples)))


def _describe_loss(content: bytes, stated: int, held: int) -> str:
    """Return which part of a sound file is there, by its header: libsndfile reads a cut WAV file without a word."""
    orders: dict[bytes, Literal["little", "big"]] = {b"RIFF": "little", b"FORM": "big"}
    order = orders.get(content[:4])
    # The size of what follows it. A recorder that never ended the file leaves 0 or the largest number there.
    size = int.from_bytes(content[4:8], order) + 8 if order else 0
    # Some writers count a byte that fills up the last chunk and do not write it.
    if len(content) + 1 < size < _UNKNOWN_SIZE:
        return f"{len(content):,} of the {size:,} bytes that its header states"
    return f"{held:,} of the {stated:,} samples that its header states" if held < stated else ""


def encode_wav(samples: NDArray[np.floating], sampling_rate_hz: int) -> bytes:
    """Encode samples ``(samples, channels)`` as a WAV file of 32-bit floats."""
    import soundfile

    target = io.BytesIO()
    soundfile.write(target, samples, sampling_rate_hz, subtype="FLOAT", format="WAV")
    return target.getvalue()
