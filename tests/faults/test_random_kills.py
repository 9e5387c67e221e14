"""kill -9 at random moments, of a worker, of the training child or of the whole server, again and again."""

from __future__ import annotations

import os
import random
import threading
import time

import pytest

from tests.faults.plant import Plant, assert_trains, assert_truthful, assert_whole, batch, kill
from tests.waiting import eventually

KILLS = int(os.environ.get("FAULT_KILLS", "15"))
MAX_TRAINING_SECONDS = 1.5

pytestmark = pytest.mark.faults


@pytest.mark.timeout(60 + 20 * KILLS)
def test_random_moments(plant: Plant) -> None:
    chance = random.Random(20241205)
    plant.start(workers=2)
    before, last_id = plant.data(), assert_truthful(plant)["training_session_id"]
    for number in range(KILLS):
        label = f"random{number}x"
        victim = chance.choice(["worker", "child", "server"])
        acknowledged = strike(plant, victim, label, chance.uniform(0, MAX_TRAINING_SECONDS))
        there = assert_whole(plant, before, label)
        assert there or not acknowledged, f"kill {number} ({victim}) lost an acknowledged batch"
        last = assert_truthful(plant)
        # A kill before the request was read leaves no session of this batch.
        has_session, last_id = last["training_session_id"] != last_id, last["training_session_id"]
        is_stored = last["state"] in ("completed", "rejected") and last["records_added"] == 3
        assert there == (has_session and is_stored)
        eventually(lambda: plant.answer()[0] == str(plant.champion()))  # a worker loads while it answers
        before = plant.data()
    assert_trains(plant, "after")


def strike(plant: Plant, victim: str, label: str, delay_s: float) -> bool:
    """Send a batch and kill somebody meanwhile; whether the batch was acknowledged."""
    answers: list[bool] = []

    def send() -> None:
        answer = plant.try_post("/train", batch(label))
        answers.append(answer is not None and answer.status_code == 200)

    sender = threading.Thread(target=send)
    sender.start()
    time.sleep(delay_s)
    if victim == "server":
        plant.kill()
        sender.join()
        plant.start(workers=2)
    else:
        for process in plant.workers() if victim == "worker" else plant.children():
            kill(process.pid)
        sender.join()
        eventually(lambda: answers_again(plant))
    return answers[0]


def answers_again(plant: Plant) -> bool:
    """Whether the server is up and nothing trains."""
    try:
        return plant.get("/train/status")["is_training"] is False
    except Exception:  # a worker that died with the question
        return False
