"""``millwright serve``: run the web server."""

from __future__ import annotations

from cli.console import CommandGroup, load_settings

app = CommandGroup("Start the server in the foreground.")


@app.command()
def serve() -> None:
    """Start the server in the foreground, with the settings of the MILLWRIGHT_* variables."""
    from app import serve as serve_forever

    serve_forever(load_settings())
