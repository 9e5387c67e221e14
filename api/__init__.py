"""HTTP in, HTTP out: one module a resource, its schemas beside it. No logic lives here."""
