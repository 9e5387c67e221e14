"""Shared parts of every route: bodies, errors, schemas, idempotency and the `Resource` that routes register with.

Start at `resource`: it turns one declaration of a route into its URL rule, its access policy and its entry in
/openapi.json.
"""
