"""From stored recordings to images of training, validation and test."""
