"""Text as people's tools write it: encodings, CSV delimiters and column names."""
