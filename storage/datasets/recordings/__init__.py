"""Recordings: read files (``waveform``, ``recording_csv``), find labels (``labels``), store them (``collection``)."""
