"""Tables that people upload: read once, kept as plain arrays, with a report of what is wrong in which row."""
