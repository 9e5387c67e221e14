"""Images of recordings: spectrograms, modulation spectra, and those that the sender computed."""
