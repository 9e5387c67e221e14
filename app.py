"""Millwright's web application. ``python app.py`` serves it; ``gunicorn app:app`` works, too.

Importing this module does nothing: the application is built when somebody asks for ``app``.
"""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from errors import ConfigurationError, MillwrightError
from settings import PROJECT, Settings, read_settings

if TYPE_CHECKING:
    from flask import Flask

    from api.operations.background import Background
    from storage.container import Storage
    from storage.db.api_keys import ApiKeys

EXIT_REFUSED = 2
THREADS_PER_STREAM_SLOT = 2
"""One of so many threads may be taken by a reader of events."""
ONE_COMPUTE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
}
"""Two compute threads on a busy core were seen to run a hundred times slower than one."""
SHARED_COUNTERS = "PROMETHEUS_MULTIPROC_DIR"
COUNTER_FILES = ("counter", "histogram")
COUNTER_BYTES = 1 << 20
"""Three times what all routes, methods and answers need."""


def create_app(settings: Settings, background: bool = False) -> Flask:
    """The application over one home folder.

    Parameters
    ----------
    settings : Settings
        Where data, models and backups are, and how to behave.
    background : bool
        Whether to start this worker's threads: its heartbeat and the first training.
    """
    from flask import Flask

    from api.http import context, errors, json_provider
    from api.operations import logs, metrics
    from api.operations.background import BACKGROUND, Background
    from api.routes import register
    from api.security import guard
    from api.training.event_stream import StreamSlots
    from api.training.sessions import STREAM_SLOTS
    from storage import fault_injection
    from training_manager import open_manager

    fault_injection.install(settings.fault_point)
    manager = open_manager(settings)
    app = Flask("millwright", root_path=str(PROJECT), static_folder=None)
    app.json = json_provider.OrjsonProvider(app)
    app.config["MAX_CONTENT_LENGTH"] = settings.max_body_mb * 1_000_000
    app.url_map.merge_slashes = False
    context.install_manager(app, manager)
    readers = StreamSlots(max(1, settings.threads // THREADS_PER_STREAM_SLOT))
    app.extensions[STREAM_SLOTS] = readers
    app.extensions[BACKGROUND] = worker = Background(manager, readers)
    metrics.install(app)
    logs.install(app)
    guard.install(app, settings)
    register(app)
    errors.install(app)
    if background:
        worker.start()
    return app


def serve(settings: Settings) -> NoReturn:
    """Prepare the home folder, then become gunicorn in the foreground.

    Raises
    ------
    ConfigurationError
        The server must not start like this.
    """
    from api.operations import logs
    from training_manager import open_manager

    logs.configure(settings.log_level)
    os.environ.update(_environment(settings))
    manager = open_manager(settings)
    _refuse_open_door(settings, manager.storage.keys)
    _refuse_taken_port(settings)
    manager.recover()
    _put_demo_data(settings, manager.storage)
    for problem in manager.data_files.problems():
        _say(f"{problem}. Mend the file, then start Millwright again.")
    manager.storage.close()
    _export_sentence_model(settings)
    _empty(metrics_folder(settings))
    os.chdir(PROJECT)
    command = [sys.executable, "-m", "gunicorn", *gunicorn_options(settings), "app:app"]
    sys.stderr.flush()
    os.execv(sys.executable, command)


def gunicorn_options(settings: Settings) -> list[str]:
    """The command line that gunicorn is started with."""
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    options = {
        "--bind": f"{host}:{settings.port}",
        "--worker-class": "gthread",  # named outright: sync with threads would become it silently
        "--workers": settings.workers,
        "--threads": settings.threads,
        "--graceful-timeout": settings.shutdown_grace_seconds + 1,
        "--timeout": 120,
        "--keep-alive": 5,
        "--log-level": settings.log_level,
        "--logger-class": "api.operations.logs.GunicornLogger",
        "--pythonpath": str(PROJECT),
        "--config": "python:api.operations.server_hooks",
    }
    return [*(str(part) for pair in options.items() for part in pair), "--no-control-socket"]


def metrics_folder(settings: Settings) -> Path:
    """Where the workers' counters meet."""
    return settings.run_dir / "metrics"


def _reserve_counters(folder: Path) -> None:
    """Take the room for this worker's counters before anything is counted.

    They lie in mapped files: a page that found the disk full only when it is written would kill the worker.
    Where there is no room even now, the worker counts for itself alone.
    """
    import structlog

    try:
        folder.mkdir(parents=True, exist_ok=True)
        for kind in COUNTER_FILES:
            with (folder / f"{kind}_{os.getpid()}.db").open("ab") as file:
                os.posix_fallocate(file.fileno(), 0, COUNTER_BYTES)
    except OSError as error:
        structlog.get_logger().warning("counters_not_shared", reason=str(error))
        del os.environ[SHARED_COUNTERS]


def _environment(settings: Settings) -> dict[str, str]:
    """What libraries of a worker read from the environment before our settings exist."""
    return {**ONE_COMPUTE_THREAD, SHARED_COUNTERS: str(metrics_folder(settings))}


def _refuse_open_door(settings: Settings, keys: ApiKeys) -> None:
    from api.security.guard import is_loopback

    if is_loopback(settings.host) or any(key.revoked_at is None for key in keys.list()):
        return
    raise ConfigurationError(
        f"Millwright does not listen on {settings.host} without API keys: everybody in reach could train and "
        "restore. Make one with `.venv/bin/millwright keys create --role admin`, or listen "
        "on 127.0.0.1."
    )


def _refuse_taken_port(settings: Settings) -> None:
    """One sentence, where gunicorn would try five times and end in its own words."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            raise ConfigurationError(_not_bound(settings, error)) from error


def _not_bound(settings: Settings, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"Port {settings.port} is taken by another program, or by a Millwright that is still running. "
            f"End that one, or use another port: MILLWRIGHT_PORT={settings.port % 65535 + 1} make run"
        )
    return (
        f"Millwright cannot listen on {settings.host} port {settings.port}: {error.strerror}. "
        "MILLWRIGHT_HOST and MILLWRIGHT_PORT say where it listens."
    )


def _say(line: str) -> None:
    """Tell the person who started the server; logs are for machines."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def _put_demo_data(settings: Settings, storage: Storage) -> None:
    """A first start without any data gets an invented plant to look at."""
    if settings.demo_data and not any(settings.data_dir.glob("*.csv")):
        from demo.anomaly_reports import install_demo_reports
        from demo.devices import install_demo_devices
        from demo.sensors import install_demo_sensors

        install_demo_reports(settings.data_dir)
        install_demo_sensors(storage.database)
        install_demo_devices(storage.database)


def _export_sentence_model(settings: Settings) -> None:
    """Make the ONNX form of the sentence model once; without it scoring works on, from words alone."""
    import structlog

    from prediction.scoring.embedding.export import find_source_folder, is_exported

    name, cache = settings.sentence_model, settings.cache_dir
    log = structlog.get_logger().bind(sentence_model=name)
    if find_source_folder(name) is None:
        log.warning("sentence_model_missing") if name != "none" else None
    elif not is_exported(name, cache):
        log.info("sentence_model_export_started")
        _say("Preparing the sentence model, once: this takes about half a minute.")
        command = [sys.executable, "-m", "prediction.scoring.embedding.export", name, str(cache)]
        done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
        if done.returncode:
            log.warning("sentence_model_export_failed", reason=done.stderr.strip()[-500:])


def _empty(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for left_over in folder.glob("*.db"):
        left_over.unlink()


def _worker_app() -> Flask:
    """The application of one gunicorn worker."""
    settings = read_settings(os.environ)
    os.environ.update(_environment(settings))
    from api.operations import logs

    logs.configure(settings.log_level)
    _reserve_counters(metrics_folder(settings))
    from api.operations.background import BACKGROUND

    app = create_app(settings, background=True)
    _stop_on_sigterm(app.extensions[BACKGROUND])
    return app


def _stop_on_sigterm(worker: Background) -> None:
    """On SIGTERM gunicorn drains requests; meanwhile sessions get their grace, in a thread of their own."""
    drain = signal.getsignal(signal.SIGTERM)

    def handle(number: int, frame: Any) -> None:
        threading.Thread(target=worker.stop, name="stop").start()
        if callable(drain):
            drain(number, frame)

    signal.signal(signal.SIGTERM, handle)
    signal.siginterrupt(signal.SIGTERM, False)


def __getattr__(name: str) -> Any:
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()["app"] = made = _worker_app()
    return made


def main() -> NoReturn:
    """Serve with the settings of the environment; exit with 2 where they forbid it."""
    try:
        serve(read_settings(os.environ))
    except MillwrightError as error:
        sys.stderr.write(f"{error.message}\n")
        sys.exit(EXIT_REFUSED)


if __name__ == "__main__":
    main()
