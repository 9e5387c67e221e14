"""Continuous training: who looks at the models and when, what is decided about each, what follows."""
