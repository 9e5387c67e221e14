"""Log-power spectrograms by librosa: run by another Python, one that has it, for ``damage_speed``.

``PYTHON benchmarks/damage/spectrogram_speed_peer.py ASKED.npz OUT.npy ROUNDS``: the file holds
``windows`` (n, samples),
``filters`` (bins, bands), ``n_fft`` and ``hop``. Writes the images, shape (n, bands, frames), and prints one
JSON line with the median processor seconds of a round. Nothing of Millwright is imported.
"""

from __future__ import annotations

import json
import sys
import time
from importlib.metadata import version

import librosa
import numpy as np


def images(asked: dict[str, np.ndarray]) -> np.ndarray:
    """One call of ``librosa.stft`` a window."""
    n_fft, hop = int(asked["n_fft"]), int(asked["hop"])
    turned = np.ascontiguousarray(asked["filters"].T)
    made = []
    for window in asked["windows"]:
        spectrum = librosa.stft(window, n_fft=n_fft, hop_length=hop, window="hann", center=False)
        made.append(np.log(turned @ np.abs(spectrum) ** 2 + 1e-10))
    return np.array(made)


def main() -> None:
    """Warm up, then measure."""
    with np.load(sys.argv[1]) as kept:
        asked = dict(kept)
    images({**asked, "windows": asked["windows"][:20]})
    spent = []
    for _ in range(int(sys.argv[3])):
        began = time.process_time()
        made = images(asked)
        spent.append(time.process_time() - began)
    np.save(sys.argv[2], made)
    print(json.dumps({"seconds": sorted(spent)[len(spent) // 2], "version": version("librosa")}))


if __name__ == "__main__":
    main()
