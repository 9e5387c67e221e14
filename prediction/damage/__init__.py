"""Damage told from vibration: spectrograms of recordings, a network that classifies them, honest doubts."""
