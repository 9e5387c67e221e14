"""E-mail, Teams and Slack through `apprise`, in a process of its own.

No web worker imports apprise and what it brings, a message that hangs can be ended, and all connections of that
process are checked as those of webhooks are.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from contextlib import suppress
from typing import Final

from notifications.address_policy import AddressPolicy
from notifications.channels import DeliveryFailed
from notifications.messages import Message
from settings import PROJECT
from storage.alarms.routes import AlarmRoute

# With the start of the process, and a mail server that is slow to greet.
TIMEOUT_SECONDS: Final = 60.0


class AppriseChannel:
    """Sends messages to one address in a process that ends with the channel."""

    def __init__(self, route: AlarmRoute, policy: AddressPolicy) -> None:
        self._url = route.url
        self._networks = [str(network) for network in policy.networks]
        self._process: subprocess.Popen[bytes] | None = None

    def send(self, message: Message) -> None:
        """Hand a message over and wait until the service has taken it."""
        process = self._process or self._start()
        # By standard input: an address holds secrets, which a command line would show.
        order = {"url": self._url, "title": message.title(), "body": message.text()}
        began_at = time.monotonic()
        watchdog = threading.Timer(TIMEOUT_SECONDS, process.kill)
        watchdog.daemon = True
        watchdog.start()
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(json.dumps(order).encode() + b"\n")
            process.stdin.flush()
            answer = process.stdout.readline()
        except OSError:
            answer = b""
        finally:
            watchdog.cancel()
        if not answer:
            self.close()
            has_hung = time.monotonic() - began_at >= TIMEOUT_SECONDS
            what = (
                f"did not answer within {TIMEOUT_SECONDS:g} seconds"
                if has_hung
                else "ended without an answer"
            )
            raise DeliveryFailed(f"the process that sends by apprise {what}")
        if error := json.loads(answer)["error"]:
            raise DeliveryFailed(error)

    def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is not None:
            for pipe in (process.stdin, process.stdout):
                with suppress(OSError):
                    assert pipe is not None
                    pipe.close()
            process.kill()
            process.wait()

    def _start(self) -> subprocess.Popen[bytes]:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "notifications.apprise_process", *self._networks],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=PROJECT,
        )
        return self._process
