"""The training page in a real browser: upload, choose, start, watch, reload, cancel, download."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from demo.series import csv_text
from settings import read_settings
from storage.container import open_storage
from tests.browser.conftest import PATIENCE_MS
from tests.live_server import environment, live_server

pytestmark = pytest.mark.slow


def upload(page, tmp_path, rows: int = 700) -> str:
    """Upload a table and wait until the page shows that very one, whatever stood there before; its id."""
    (tmp_path / "plant.csv").write_text(csv_text("transformer", rows))
    with page.expect_response(is_upload) as answer:
        page.set_input_files("#file", tmp_path / "plant.csv")
    dataset = answer.value.json()["id"]
    wait_until_shown(page, dataset)
    return dataset


def is_upload(response) -> bool:
    return response.request.method == "POST" and response.url.endswith("/datasets")


def wait_until_shown(page, dataset: str) -> None:
    """Wait until the columns of this dataset stand on the page and training may start."""
    page.wait_for_selector(f"#columns[data-of='{dataset}'] input[value=OT]")
    page.wait_for_selector("#start:enabled")


def start(page, **options: object) -> int:
    """Fill in, start, and wait until the page watches that very session; its number."""
    for name, value in options.items():
        if name == "architecture":
            page.select_option("select[name=architecture]", str(value))
        else:
            page.fill(f"input[name={name}]", str(value))
    with page.expect_response(lambda response: "/train/forecasting/" in response.url) as answer:
        page.click("#start")
    number = answer.value.json()["training_session_id"]
    watches(page, number)
    return number


def watches(page, number: int) -> None:
    until(page, lambda: page.url.endswith(f"#session={number}") and page.inner_text("#number") == f"{number}")


def until(page, true: Callable[[], bool]) -> None:
    """Wait on this side: the page's own policy forbids scripts that a test would slip in."""
    deadline = time.monotonic() + PATIENCE_MS / 1000
    while not true():
        assert time.monotonic() < deadline, page.inner_text("body")
        page.wait_for_timeout(100)


def watched_epochs(page, count: int) -> None:
    def drawn() -> int:
        lines = page.query_selector_all("#chart polyline")
        return min((len(line.get_attribute("points").split()) for line in lines), default=0)

    until(page, lambda: drawn() >= count)


def state_begins(page, word: str) -> None:
    until(page, lambda: page.inner_text("#state").startswith(word))


def test_a_network_is_trained_watched_and_downloaded(page, address, tmp_path):
    page.goto(f"{address}/forecasting/train")
    upload(page, tmp_path)
    assert page.inner_text("#about").startswith("plant.csv: 700 rows")
    start(page, model="oil", architecture="NLinear", window_size=24, future_steps=6, epochs=5)
    watched_epochs(page, 1)
    state_begins(page, "completed")
    with page.expect_download() as download:
        page.click("text=model_info.json")
    assert '"NLinear"' in download.value.path().read_text()
    with page.expect_download() as download:
        page.click("text=report.pdf")
    assert download.value.path().read_bytes().startswith(b"%PDF")


def test_a_session_survives_a_reload_opens_elsewhere_and_is_cancelled(page, browser, address, tmp_path):
    page.goto(f"{address}/forecasting/train")
    upload(page, tmp_path, rows=2_000)
    slow = {"model": "slow", "architecture": "BiLSTM", "epochs": 500, "early_stopping_patience": 0}
    number = start(page, **slow, hidden_size=32)
    watched_epochs(page, 1)
    page.reload()
    watches(page, number)
    watched_epochs(page, 1)
    second = browser.new_context().new_page()
    second.set_default_timeout(PATIENCE_MS)
    second.goto(f"{address}/forecasting/train")
    watches(second, number)
    watched_epochs(second, 1)
    until(second, lambda: "left" in second.inner_text("#state"))
    second.click("#cancel")
    for window in (second, page):
        state_begins(window, "cancelled")
    second.close()


def test_what_is_wrong_is_said_on_the_page(page, address, tmp_path):
    page.goto(f"{address}/forecasting/train")
    upload(page, tmp_path)
    page.fill("input[name=window_size]", "4000")
    page.uncheck("#columns input[value=OT]")
    page.click("#start")
    until(page, lambda: "target_columns" in page.inner_text("#error"))
    assert "#session" not in page.url


def test_a_table_with_faults_is_mended_when_asked(page, address, tmp_path):
    text = csv_text("transformer", 700).replace("2024-01-03 05:00:00", "2024-01-03 04:00:00")
    (tmp_path / "faulty.csv").write_text(text)
    page.goto(f"{address}/forecasting/train")
    page.set_input_files("#file", tmp_path / "faulty.csv")
    until(page, lambda: page.inner_text("#about").startswith("faulty.csv: 700 rows"))
    assert "earlier row" in page.inner_text("#findings")
    page.click("#mend")
    until(page, lambda: "empty" in page.inner_text("#findings"))  # a row was filled in, without values
    page.click("#mend")
    until(page, lambda: page.inner_text("#findings") == "")
    assert not page.is_visible("#mend")


def test_a_late_list_does_not_undo_what_was_chosen_since(page, address, tmp_path):
    late = []

    def keep_the_first_list(route) -> None:
        if route.request.method == "GET" and not late:
            late.append((route, route.fetch()))
        else:
            route.continue_()

    page.route("**/datasets", keep_the_first_list)
    page.goto(f"{address}/forecasting/train")
    until(page, lambda: bool(late))
    assert page.is_disabled("#start")
    dataset = upload(page, tmp_path)
    page.uncheck("#columns input[value=OT]")
    route, answer = late[0]
    with page.expect_event("requestfinished", lambda request: request == route.request):
        route.fulfill(response=answer)
    page.wait_for_timeout(200)
    assert page.input_value("#dataset") == dataset
    assert not page.is_checked("#columns input[value=OT]")


def test_an_upload_that_ends_late_is_listed_and_changes_no_choice(page, address, tmp_path):
    page.goto(f"{address}/forecasting/train")
    earlier = upload(page, tmp_path)
    held = []

    def hold_the_upload(route) -> None:
        if route.request.method == "POST":
            held.append(route)
        else:
            route.continue_()

    page.route("**/datasets", hold_the_upload)
    page.set_input_files("#file", tmp_path / "plant.csv")
    until(page, lambda: bool(held))
    assert page.is_disabled("#start")
    assert page.inner_text("#about") == "Reading plant.csv …"
    page.select_option("#dataset", earlier)
    wait_until_shown(page, earlier)
    page.uncheck("#columns input[value=OT]")
    with page.expect_response(is_upload) as answer:
        held[0].continue_()
    later = answer.value.json()["id"]
    page.wait_for_selector(f"#dataset option[value='{later}']", state="attached")
    assert page.input_value("#dataset") == earlier
    assert not page.is_checked("#columns input[value=OT]")


def test_files_are_saved_where_an_api_key_is_needed(page, tmp_path):
    home = tmp_path / "keyed"
    storage = open_storage(read_settings(environment(home)))
    secret, _ = storage.keys.create("train")
    storage.close()
    with live_server(home, sentence_model="none", demo_data=0) as address:
        page.goto(f"{address}/forecasting/train")
        until(page, lambda: "API key" in page.inner_text("#error"))
        page.fill("#key", secret)
        page.press("#key", "Tab")
        upload(page, tmp_path)
        start(page, model="oil", architecture="NLinear", window_size=24, future_steps=6, epochs=1)
        state_begins(page, "completed")
        with page.expect_download() as download:
            page.click("text=model_info.json")
        assert download.value.suggested_filename == "model_info.json"
        assert '"NLinear"' in download.value.path().read_text()
