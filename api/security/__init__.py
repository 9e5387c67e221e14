"""Who may do what, and from where: the guard that every request passes, and the rate limit."""
