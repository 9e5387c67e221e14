"""Run the command without an installation: ``python -m cli``."""

from cli.main import main

main()
