"""spectrograms."""
