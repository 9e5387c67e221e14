"""Drain alarms to a webhook in order: ``python -m benchmarks.alarms.outbox``.

Alarms of 1,000 subjects are written into the outbox, given to one route and posted to a receiver in a process of its
own, which checks the order of each subject. It fails every thousandth message.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import tempfile
import threading
import time
from collections import defaultdict
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from pathlib import Path

from notifications import open_channel
from notifications.address_policy import parse_networks
from notifications.delivery import RouteDelivery
from notifications.quiet_hours import hold_until
from storage.alarms import Alarm, record_alarms
from storage.alarms.routes import AlarmRoute
from storage.alarms.stores import open_alarm_stores
from storage.db.database import Database

SUBJECTS, FAILS_EVERY = 1_000, 1_000
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def main() -> None:
    """Print one JSON document."""
    command = argparse.ArgumentParser(description=main.__doc__)
    command.add_argument("--alarms", type=int, default=100_000)
    command.add_argument("--group-seconds", type=int, default=0)
    command.add_argument("--database", help="SQLAlchemy URL of an empty database; SQLite where it is missing")
    asked = command.parse_args()
    ours, theirs = multiprocessing.Pipe()
    receiver = multiprocessing.get_context("spawn").Process(target=_receive, args=(theirs,))
    receiver.start()
    port = ours.recv()
    with tempfile.TemporaryDirectory() as folder:
        database = Database(asked.database or f"sqlite:///{folder}/test.db", Path(folder))
        database.migrate()
        figures = _drain(database, port, asked.alarms, asked.group_seconds)
    ours.send(None)
    print(json.dumps({"alarms": asked.alarms, **figures, "receiver": ours.recv()}, indent=2))
    receiver.join()


def _drain(database: Database, port: int, count: int, group_seconds: int) -> dict[str, float]:
    stores = open_alarm_stores(database)
    row = {"name": "receiver", "kind": "webhook", "url": f"http://127.0.0.1:{port}/", "secret": SECRET}
    filters = {"events": [], "families": [], "subjects": [], "min_severity": "Low", "enabled": True}
    route_id = stores.routes.create("default", {**row, **filters, "group_seconds": group_seconds})
    began = time.perf_counter()
    for start in range(0, count, 1_000):
        with database.write() as connection:
            record_alarms(connection, [_alarm(n) for n in range(start, min(count, start + 1_000))])
    written = time.perf_counter()
    while stores.deliveries.route_waiting(stores.routes.list_enabled(), hold_until):
        pass
    routed = time.perf_counter()
    policy = parse_networks(["127.0.0.1"])
    channel = open_channel(AlarmRoute.from_row(stores.routes.get("default", route_id)), policy)
    time.sleep(group_seconds)
    began_sending = time.perf_counter()
    delivery = RouteDelivery(stores.routes, stores.deliveries, timedelta(hours=24), threading.Event())
    # A failed message pauses the route for two seconds; here it goes on at once.
    while stores.deliveries.count_by_state("default").get("pending"):
        delivery.run(AlarmRoute.from_row(stores.routes.get("default", route_id)), channel)
    channel.close()
    ended = time.perf_counter()
    return {
        "write_s": round(written - began, 1),
        "route_s": round(routed - written, 1),
        "deliver_s": round(ended - began_sending, 1),
        "delivered_per_second": round(count / (ended - began_sending)),
    }


def _alarm(number: int) -> Alarm:
    subject = f"sensors/{number % SUBJECTS}"
    message = f"Spike of TI-{number % SUBJECTS}: 98.5 °C, 70 expected"
    return Alarm("default", "anomaly.opened", "High", "sensors", subject, message, data={"number": number})


def _receive(answers: Connection) -> None:
    """Receive until told to stop; report how many came, how often again, and in which order."""
    last: dict[str, int] = defaultdict(lambda: -1)
    counts = {"messages": 0, "failed": 0, "alarms": 0, "again": 0, "out_of_order": 0}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            counts["messages"] += 1
            fails = counts["messages"] % FAILS_EVERY == 0
            for alarm in [] if fails else body["alarms"]:
                number, subject = alarm["data"]["number"], alarm["subject"]
                counts["alarms"] += 1
                counts["again"] += number == last[subject]
                counts["out_of_order"] += (
                    number < last[subject] or number > max(last[subject], -1) + SUBJECTS + 1
                )
                last[subject] = number
            counts["failed"] += fails
            self.wfile.write(f"HTTP/1.1 {503 if fails else 200} x\r\nContent-Length: 0\r\n\r\n".encode())

        def log_message(self, *given: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    answers.send(server.server_address[1])
    answers.recv()
    answers.send({**counts, "subjects": len(last)})


if __name__ == "__main__":
    main()
