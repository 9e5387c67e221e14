"""How a model changes: one session from request to end, its lock, its child process, its verdict."""
