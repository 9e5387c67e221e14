"""Commands for people and for cron: thin over the training manager, or over HTTP where a server runs."""
