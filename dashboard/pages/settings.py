"""Settings in force and API keys, for administrators."""

from __future__ import annotations

import os
from dataclasses import Field, fields

from flask import render_template

from api.http.context import identity, manager
from dashboard.resource import HTML, Pages
from settings import ENV_PREFIX, VERSION, Settings, hide_credentials

settings = Pages("settings pages", "Settings and keys, for administrators.")


@settings.operation("/settings", HTML, role="admin")
def get_settings() -> str:
    """Show the settings in force, the keys of the tenant, and the room that is left."""
    values = manager().settings
    rows = [
        {
            "name": ENV_PREFIX + setting.name.upper(),
            "value": _show(getattr(values, setting.name), is_secret=setting.metadata["secret"]),
            "source": _find_source(setting, getattr(values, setting.name)),
            "help": setting.metadata["help"],
        }
        for setting in fields(Settings)
        # The server's own settings are the business of whoever runs it, not of a further tenant.
        if identity().tenant == "default"
    ]
    return render_template(
        "settings.html",
        rows=rows,
        keys=[key for key in manager().keys.list() if key.tenant == identity().tenant],
        free_bytes=manager().system.free_bytes(),
        backups=manager().backups.list(identity().tenant),
        version=VERSION,
    )


def _find_source(setting: Field[object], value: object) -> str:
    """Return where the value of a setting comes from."""
    name = ENV_PREFIX + setting.name.upper()
    if f"{name}_FILE" in os.environ:
        return "file"
    if name in os.environ:
        return "environment"
    return "default" if value == setting.default else "command"


def _show(value: object, is_secret: bool) -> str:
    if is_secret:
        return "…" if value else ""
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return hide_credentials(str(value))
