"""Millwright's web application. ``python app.py`` serves it; ``gunicorn app:app`` works, too.

Importing this module does nothing: the application is built when ``app`` is first read.
"""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

from errors import ConfigurationError, MillwrightError
from settings import PROJECT, Settings, read_settings

if TYPE_CHECKING:
    from flask import Flask

    from api.operations.background import Background
    from training_manager import TrainingManager

EXIT_REFUSED = 2
# One in so many threads may serve an event stream, or wait for the end of a training: the others stay free.
THREADS_PER_WAIT_SLOT = 2
# Two compute threads on a busy core were measured to be a hundred times slower than one.
ONE_COMPUTE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
}
SHARED_COUNTERS = "PROMETHEUS_MULTIPROC_DIR"
# Three times what the counters of all routes, methods and statuses need.
COUNTER_FILE_BYTES = 1 << 20
# Workers touch a file so that gunicorn sees them alive; in memory it exists also where every disk is full.
MEMORY_FOLDER = "/dev/shm"


def create_app(settings: Settings, background: bool = False) -> Flask:
    """Return the application over one home folder.

    Parameters
    ----------
    settings : Settings
        Where data, models and backups are, and how to behave.
    background : bool
        Whether to start this worker's threads: its heartbeat and the first training.
    """
    from flask import Flask
    from werkzeug.middleware.proxy_fix import ProxyFix

    from api.http import context, errors, idempotency
    from api.http.json_provider import OrjsonProvider
    from api.operations import logs, metrics
    from api.operations.background import BACKGROUND, Background
    from api.routes import register
    from api.security import guard
    from api.sensors import line_protocol
    from api.training.event_stream import WAIT_SLOTS, WaitSlots
    from api.training.training_response import session_response
    from dashboard import install as install_dashboard
    from dashboard.pages import PAGES
    from storage import fault_injection
    from training_manager import open_manager

    fault_injection.install(settings.fault_point)
    manager = open_manager(settings)
    app = Flask("millwright", root_path=str(PROJECT), static_folder=None)
    app.json = OrjsonProvider(app)
    app.config["MAX_CONTENT_LENGTH"] = settings.max_body_mb * 1_000_000
    app.url_map.merge_slashes = False
    if count := settings.trusted_proxies:
        # Each proxy appends what it saw: only the last so many values are theirs, the rest is what a client claims.
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=count, x_proto=count, x_host=count)  # type: ignore[method-assign]
    context.install_manager(app, manager)
    slots = WaitSlots(max(1, settings.threads // THREADS_PER_WAIT_SLOT))
    app.extensions[WAIT_SLOTS] = slots
    app.extensions[BACKGROUND] = worker = Background(manager, slots)
    # In this order: the clock starts before the guard refuses anything, and refusals are counted and logged.
    metrics.install(app)
    logs.install(app)
    guard.install(app, settings, manager.keys)
    idempotency.install(app, session_response)
    install_dashboard(app)
    register(app, PAGES)
    errors.install(app, {line_protocol.PATH: line_protocol.error_to_dict})
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
    os.environ.update(_worker_environment(settings))
    manager = open_manager(settings)
    _refuse_network_without_keys(settings, manager)
    _refuse_taken_port(settings)
    manager.recover()
    _install_demo_data(settings, manager)
    for problem in manager.data_health.problems():
        _print(f"{problem}. Mend the file, then start Millwright again.")
    manager.close_storage()
    _export_sentence_model(settings)
    metrics_dir = metrics_folder(settings)
    metrics_dir.mkdir(parents=True, exist_ok=True)
    for old_counters in metrics_dir.glob("*.db"):
        old_counters.unlink()
    os.chdir(PROJECT)
    command = [sys.executable, "-m", "gunicorn", *gunicorn_options(settings), "app:app"]
    with suppress(OSError):
        sys.stderr.flush()
    os.execv(sys.executable, command)


def gunicorn_options(settings: Settings) -> list[str]:
    """Return the command line that gunicorn is started with."""
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    options = {
        "--bind": f"{host}:{settings.port}",
        "--worker-class": "api.operations.buffering_worker.BufferingWorker",
        "--workers": settings.workers,
        "--threads": settings.threads,
        # Of each worker, the silent ones among them; every one is a file descriptor.
        "--worker-connections": 500,
        # After the grace, sessions are interrupted and noted, for which they have 10 s.
        "--graceful-timeout": settings.shutdown_grace_seconds + 15,
        "--timeout": 120,
        "--keep-alive": 5,
        "--log-level": settings.log_level,
        "--logger-class": "api.operations.logs.GunicornLogger",
        "--pythonpath": str(PROJECT),
        "--config": "python:api.operations.server_hooks",
    }
    if os.access(MEMORY_FOLDER, os.W_OK):
        options["--worker-tmp-dir"] = MEMORY_FOLDER
    return [*(str(part) for pair in options.items() for part in pair), "--no-control-socket"]


def metrics_folder(settings: Settings) -> Path:
    """Return the folder in which the workers share their counters."""
    return settings.run_dir / "metrics"


def _worker_environment(settings: Settings) -> dict[str, str]:
    """Return what a worker's libraries read from the environment before settings exist."""
    return {**ONE_COMPUTE_THREAD, SHARED_COUNTERS: str(metrics_folder(settings))}


def _refuse_network_without_keys(settings: Settings, manager: TrainingManager) -> None:
    from api.security.guard import is_loopback

    if any(key.revoked_at is None for key in manager.keys.list()):
        return
    foreign = [name for name in settings.allowed_hosts if not is_loopback(name)]
    if foreign or settings.trusted_proxies:
        cause = (
            f"MILLWRIGHT_ALLOWED_HOSTS names {foreign[0]}" if foreign else "MILLWRIGHT_TRUSTED_PROXIES is set"
        )
        raise ConfigurationError(
            f"{cause}, and there are no API keys: through a proxy on this machine everybody could train and "
            "restore. Make one with `.venv/bin/millwright keys create --role admin`, or remove the setting."
        )
    if is_loopback(settings.host):
        return
    raise ConfigurationError(
        f"Millwright does not listen on {settings.host} without API keys: everybody in reach could train and "
        "restore. Make one with `.venv/bin/millwright keys create --role admin`, or listen "
        "on 127.0.0.1."
    )


def _refuse_taken_port(settings: Settings) -> None:
    """Raise ConfigurationError if the address cannot be bound; gunicorn would retry five times first."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                message = (
                    f"Port {settings.port} is taken by another program, or by a Millwright that is still running. "
                    f"End that one, or use another port: MILLWRIGHT_PORT={settings.port % 65535 + 1} make run"
                )
            else:
                message = (
                    f"Millwright cannot listen on {settings.host} port {settings.port}: {error.strerror}. "
                    "MILLWRIGHT_HOST and MILLWRIGHT_PORT say where it listens."
                )
            raise ConfigurationError(message) from error


def _print(line: str) -> None:
    """Print to the person who starts the server; logs are for machines. A full disk may refuse it."""
    with suppress(OSError):
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()


def _install_demo_data(settings: Settings, manager: TrainingManager) -> None:
    """Give a first start without any data an invented plant to look at."""
    if settings.demo_data and not any(settings.data_dir.glob("*.csv")):
        from demo.anomaly_reports import install_demo_reports
        from demo.devices import install_demo_devices
        from demo.sensors import install_demo_sensors

        install_demo_reports(settings.data_dir)
        install_demo_sensors(manager.sensors.database)
        install_demo_devices(manager.devices.database)


def _export_sentence_model(settings: Settings) -> None:
    """Write the ONNX form of the sentence model once; without it scoring works from words alone."""
    import structlog

    from prediction.scoring.embedding.export import find_source_folder, is_exported

    name, cache = settings.sentence_model, settings.cache_dir
    log = structlog.get_logger().bind(sentence_model=name)
    if find_source_folder(name) is None:
        if name != "none":
            log.warning("sentence_model_missing")
    elif not is_exported(name, cache):
        log.info("sentence_model_export_started")
        _print("Preparing the sentence model, once: this takes about half a minute.")
        command = [sys.executable, "-m", "prediction.scoring.embedding.export"]
        command += [name, str(cache), str(settings.run_dir)]
        export = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
        if export.returncode:
            log.warning("sentence_model_export_failed", reason=export.stderr.strip()[-500:])


def _create_worker_app() -> Flask:
    """Return the application of one gunicorn worker."""
    settings = read_settings(os.environ)
    os.environ.update(_worker_environment(settings))
    from api.operations import logs
    from api.operations.background import BACKGROUND

    logs.configure(settings.log_level)
    _reserve_counter_files(metrics_folder(settings))
    app = create_app(settings, background=True)
    _stop_on_sigterm(app.extensions[BACKGROUND])
    return app


def _reserve_counter_files(folder: Path) -> None:
    """Allocate the disk space of this worker's counters before anything is counted.

    They are memory-mapped files: a page that found the disk full only when it is written would kill the worker.
    Where there is no space even now, the worker counts for itself alone.
    """
    import structlog
    from prometheus_client import values

    try:
        folder.mkdir(parents=True, exist_ok=True)
        for kind in ("counter", "histogram"):
            with (folder / f"{kind}_{os.getpid()}.db").open("ab") as file:
                os.posix_fallocate(file.fileno(), 0, COUNTER_FILE_BYTES)
    except OSError as error:
        structlog.get_logger().warning("counters_not_shared", reason=str(error))
        del os.environ[SHARED_COUNTERS]
        # gunicorn has imported the library before, which has looked at the environment then.
        values.ValueClass = values.MutexValue


def _stop_on_sigterm(worker: Background) -> None:
    """Stop sessions on SIGTERM in a thread of their own, while gunicorn drains requests."""
    drain = signal.getsignal(signal.SIGTERM)

    def handle(number: int, frame: FrameType | None) -> None:
        threading.Thread(target=worker.stop, name="stop").start()
        if callable(drain):
            drain(number, frame)

    signal.signal(signal.SIGTERM, handle)
    signal.siginterrupt(signal.SIGTERM, False)


def __getattr__(name: str) -> Flask:
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()["app"] = worker_app = _create_worker_app()
    return worker_app


def main() -> NoReturn:
    """Serve with the settings of the environment; exit with 2 where they forbid it."""
    try:
        serve(read_settings(os.environ))
    except MillwrightError as error:
        _print(str(error))
        sys.exit(EXIT_REFUSED)


if __name__ == "__main__":
    main()
