"""How far a training is, for the person who waits: a bar on a terminal, plain lines in a notebook."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from millwright_client.errors import Answer

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


class ProgressDisplay(Protocol):
    """Something that shows sessions."""

    def __enter__(self) -> Self:
        """Begin to show."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop showing."""

    def show(self, session: Answer) -> None:
        """Show how far a session is."""


def open_display(wanted: bool | None) -> ProgressDisplay:
    """Return a display.

    Parameters
    ----------
    wanted : bool, optional
        None: where a person looks, that is on a terminal or in a notebook.
    """
    in_notebook = "ipykernel" in sys.modules
    on_terminal = sys.stderr.isatty() and not in_notebook
    if not (in_notebook or on_terminal if wanted is None else wanted):
        return _Nothing()
    if on_terminal:
        try:
            return _Bar()
        except ImportError:
            pass
    return _Lines()


def describe(session: Answer) -> str:
    """Return in one line how far a session is."""
    percent = session.get("progress_pct")
    where = str(session.get("stage") or session["state"])
    done = "" if percent is None else f" {percent:.0f} %"
    return f"Session {session['training_session_id']} of {session['model']}: {where}{done}"


class _Nothing:
    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def show(self, session: Answer) -> None: ...


class _Lines(_Nothing):
    """One line for each stage, since output that is not a terminal cannot be written over."""

    def __init__(self) -> None:
        self._last = ""

    def show(self, session: Answer) -> None:
        stage = str(session.get("stage") or session["state"])
        if stage != self._last:
            self._last = stage
            sys.stdout.write(describe(session) + "\n")
            sys.stdout.flush()


class _Bar(_Nothing):
    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn())
        self._progress: Progress = Progress(*columns, console=Console(stderr=True), transient=True)
        self._task: TaskID = self._progress.add_task("Training", total=100)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, session: Answer) -> None:
        completed = session.get("progress_pct") or 0.0
        self._progress.update(self._task, description=describe(session), completed=completed)
