"""Checks every endpoint of the guide against a running server and says what does not hold.

It trains on five invented reports, other ones at every run, and takes them out again, so it can be
run against a server in use.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

if not __package__:
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from cli.client import ServerClient, local_server_url
from cli.console import ExitCode, JSONFlag, leave, say, say_json, told
from demo.anomaly_reports import random_records
from errors import Forbidden, MillwrightError

UrlOption = Annotated[
    str | None, typer.Option(help="Address of the server; default: the one that runs here.")
]
KeyOption = Annotated[
    Path | None, typer.Option(exists=True, dir_okay=False, help="File with an API key (role admin).")
]
Check = tuple[str, Callable[[], bool]]
SCORES = {"availability", "fiability", "process_safety"}


class Pipeline:
    """The checks, in the order in which they build on each other."""

    def __init__(self, server: ServerClient) -> None:
        self.server = server
        self.reports = random_records(5)
        self.session: int | None = None
        self.backup = ""

    def checks(self) -> Iterator[Check]:
        """Every check with its name."""
        yield "GET /health/ready", lambda: self._get("/health/ready").get("success", True) is True
        yield "GET /train/status", self._status
        yield "POST /train refuses a wrong score", self._refuses
        yield "POST /train?dry_run=1", self._previews
        yield "POST /train/backups", self._backs_up
        yield "GET /train/backups", self._lists_backup
        yield "POST /train/restore/<backup>", self._restores
        yield "POST /train", self._trains
        yield "POST /train again changes nothing", self._skips
        yield "GET /train/sessions/<id>", self._tells_session
        yield "POST /predict", self._predicts
        yield "GET /models/scoring/default", lambda: "model" in self._get("/models/scoring/default")
        yield "GET /train/statistics", lambda: bool(self._get("/train/statistics"))
        yield "POST /train/reload", lambda: self.server.post("/train/reload")["models_loaded"] is True
        yield "POST /train/undo/<session>", self._undoes
        yield "an unknown path is a 404", lambda: self._error("/nowhere") == "not_found"

    def _get(self, path: str) -> dict[str, Any]:
        return self.server.get(path)

    def _error(self, path: str, body: Any = None) -> str:
        try:
            if body is None:
                self.server.get(path)
            else:
                self.server.post(path, body)
        except MillwrightError as error:
            return error.code
        return "no error"

    def _status(self) -> bool:
        return {"is_training", "available_backups", "last_training"} <= self._get("/train/status").keys()

    def _refuses(self) -> bool:
        return self._error("/train", [{**self.reports[0], "availability_score": 6}]) == "invalid_records"

    def _previews(self) -> bool:
        return self.server.post("/train?dry_run=1", self.reports)["dry_run"] is True

    def _backs_up(self) -> bool:
        self.backup = str(self.server.post("/train/backups", {"reason": "pipeline check"})["name"])
        return bool(self.backup)

    def _lists_backup(self) -> bool:
        return any(backup["name"] == self.backup for backup in self._get("/train/backups")["backups"])

    def _restores(self) -> bool:
        """At once, so that nothing has changed since the backup was made."""
        return self.server.post(f"/train/restore/{self.backup}")["success"] is True

    def _trains(self) -> bool:
        answer = self.server.post("/train", self.reports)
        self.session = answer["training_session_id"]
        return answer["success"] is True and answer["statistics"]["total_records_added"] == len(self.reports)

    def _skips(self) -> bool:
        return self.server.post("/train", self.reports)["training_session_id"] is None

    def _tells_session(self) -> bool:
        return self._get(f"/train/sessions/{self.session}")["state"] in ("completed", "rejected")

    def _predicts(self) -> bool:
        prediction = self.server.post("/predict", self.reports[0])["predictions"][0]
        return set(prediction["scores"]) == SCORES

    def _undoes(self) -> bool:
        return self.server.post(f"/train/undo/{self.session}")["success"] is True


def main(*, url: UrlOption = None, api_key_file: KeyOption = None, as_json: JSONFlag = False) -> None:
    """Check every endpoint of a running server. Exit codes: 0 all hold, 1 some not, 8 no key, 9 no server."""
    with told(as_json):
        server = ServerClient(
            url or local_server_url(), api_key_file.read_text().strip() if api_key_file else None
        )
        server.get("/health/live")
        _refuse_weak_key(server)
        results = [(name, _outcome(check)) for name, check in Pipeline(server).checks()]
        failed = [name for name, trouble in results if trouble]
        if as_json:
            checks = [{"check": name, "passed": not trouble, "problem": trouble} for name, trouble in results]
            say_json({"success": not failed, "checks": checks})
        else:
            for name, trouble in results:
                say(f"{'FAIL' if trouble else 'ok  '} {name}{': ' + trouble if trouble else ''}")
        leave(ExitCode.FAILED if failed else ExitCode.DONE)


def _refuse_weak_key(server: ServerClient) -> None:
    """Ask for what only an admin may do and what changes nothing: deleting a backup that no server has."""
    try:
        server.delete("/train/backups/backup_19700101_000000")
    except MillwrightError as error:
        if error.status not in (401, 403):
            return
        raise Forbidden(
            f"The checks need an API key of the role admin, in a file named by --api-key-file. "
            f"The server said: {error.message}"
        ) from error


def _outcome(check: Callable[[], bool]) -> str | None:
    """What is wrong, in words, or None."""
    try:
        return None if check() else "the answer is not what the guide promises"
    except MillwrightError as error:
        return f"{error.status} {error.code}: {error.message}"
    except (KeyError, IndexError, TypeError) as error:
        return f"the answer lacks {error}"


if __name__ == "__main__":
    typer.run(main)
