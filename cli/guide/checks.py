"""``millwright demo check``: check every endpoint of the guide against a running server.

It trains on five invented reports, different ones at every run, and removes them again, so it can be run
against a server in use.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import typer

from cli.client import ServerClient
from cli.console import ApiKeyOption, ExitCode, JSONFlag, UrlOption, echo, echo_json
from demo.anomaly_reports import random_records
from errors import Forbidden, MillwrightError

Check = tuple[str, Callable[[], bool]]
SCORES = {"availability", "fiability", "process_safety"}


class GuideChecks:
    """The checks, in the order in which they build on each other."""

    def __init__(self, server: ServerClient) -> None:
        self._server = server
        self._reports = random_records(5)
        self._session_id: int | None = None
        self._backup = ""

    def __iter__(self) -> Iterator[Check]:
        get, post, reports = self._server.get, self._server.post, self._reports
        invalid = [{**reports[0], "availability_score": 6}]
        status_fields = {"is_training", "available_backups", "last_training"}
        yield "GET /health/ready", lambda: get("/health/ready").get("success", True) is True
        yield "GET /train/status", lambda: status_fields <= get("/train/status").keys()
        yield (
            "POST /train refuses a wrong score",
            lambda: self._error_code("/train", invalid) == "invalid_records",
        )
        yield "POST /train?dry_run=1", lambda: post("/train?dry_run=1", reports)["dry_run"] is True
        yield "POST /train/backups", self._create_backup
        yield "GET /train/backups", self._list_backup
        # At once, so that nothing has changed since the backup was made.
        yield (
            "POST /train/restore/<backup>",
            lambda: post(f"/train/restore/{self._backup}")["success"] is True,
        )
        yield "POST /train", self._train
        yield (
            "POST /train again changes nothing",
            lambda: post("/train", reports)["training_session_id"] is None,
        )
        yield "GET /train/sessions/<id>", self._read_session
        yield (
            "POST /predict",
            lambda: set(post("/predict", reports[0])["predictions"][0]["scores"]) == SCORES,
        )
        yield "GET /models/scoring/default", lambda: "model" in get("/models/scoring/default")
        yield "GET /train/statistics", lambda: bool(get("/train/statistics"))
        yield "POST /train/reload", lambda: post("/train/reload")["models_loaded"] is True
        yield "POST /train/undo/<session>", lambda: post(f"/train/undo/{self._session_id}")["success"] is True
        yield "an unknown path is a 404", lambda: self._error_code("/nowhere") == "not_found"

    def _error_code(self, path: str, body: object = None) -> str:
        try:
            if body is None:
                self._server.get(path)
            else:
                self._server.post(path, body)
        except MillwrightError as error:
            return error.code
        return "no error"

    def _create_backup(self) -> bool:
        self._backup = str(self._server.post("/train/backups", {"reason": "pipeline check"})["name"])
        return bool(self._backup)

    def _list_backup(self) -> bool:
        return any(b["name"] == self._backup for b in self._server.get("/train/backups")["backups"])

    def _train(self) -> bool:
        answer = self._server.post("/train", self._reports)
        self._session_id = answer["training_session_id"]
        added = answer["statistics"]["total_records_added"]
        return answer["success"] is True and added == len(self._reports)

    def _read_session(self) -> bool:
        state = self._server.get(f"/train/sessions/{self._session_id}")["state"]
        return state in ("completed", "rejected")


def check_server(
    *, url: UrlOption = None, api_key_file: ApiKeyOption = None, as_json: JSONFlag = False
) -> None:
    """Check every endpoint of the guide against a running server; needs a key with the role admin."""
    server = ServerClient(url, api_key_file)
    server.get("/health/live")
    # Deleting a backup that cannot exist needs the role admin and changes nothing.
    try:
        server.request("DELETE", "/train/backups/backup_19700101_000000")
    except MillwrightError as error:
        if error.status in (401, 403):
            raise Forbidden(
                f"The checks need an API key of the role admin, in a file named by --api-key-file. "
                f"The server said: {error.message}"
            ) from error
    results = [(name, _find_problem(check)) for name, check in GuideChecks(server)]
    failed = [name for name, problem in results if problem]
    if as_json:
        checks = [{"check": name, "passed": not problem, "problem": problem} for name, problem in results]
        echo_json({"success": not failed, "checks": checks})
    else:
        for name, problem in results:
            echo(f"{'FAIL' if problem else 'ok  '} {name}{': ' + problem if problem else ''}")
    raise typer.Exit(ExitCode.FAILED if failed else ExitCode.DONE)


def _find_problem(check: Callable[[], bool]) -> str | None:
    try:
        return None if check() else "the answer is not what the guide promises"
    except MillwrightError as error:
        return f"{error.status} {error.code}: {error.message}"
    except (KeyError, IndexError, TypeError) as error:
        return f"the answer lacks {error}"
