"""Files and processes: what is written is complete or absent, and locks end with their owner.

``files`` has atomic writes, hashes and copies, ``append`` repeatable appends, ``checksummed_json`` documents
that detect any changed byte, ``locks`` locks between processes, ``presence`` which processes are alive.
"""
