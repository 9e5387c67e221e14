"""Training over HTTP: start it, follow its sessions, take it back, and the backups that make that safe.

``train`` starts sessions, ``training_response`` says how one ended, ``sessions`` and ``event_stream`` follow one.
"""
