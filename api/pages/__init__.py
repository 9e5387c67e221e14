"""The page that describes the API (/docs): static files without inline scripts or styles, from this server only."""
