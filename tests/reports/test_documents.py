"""The same document as HTML and as PDF: hostile names do nothing, accents are there, nothing is fetched."""

from __future__ import annotations

import re
import subprocess
import sys
import zlib
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from reports.facts import SessionFacts
from reports.formatting import clean
from reports.layout import Document
from reports.narrative import write_by_rules
from reports.render.html import render_html
from reports.render.pdf import render_pdf
from reports.render.pdf_page import PdfPage, font_folder
from settings import PROJECT
from tests.reports import example_facts
from tests.reports.examples import EXAMPLES, compose_facts

TAGS = {
    "html",
    "head",
    "meta",
    "title",
    "style",
    "body",
    "main",
    "header",
    "h1",
    "h2",
    "p",
    "span",
    "div",
    "b",
    "table",
    "thead",
    "tbody",
    "tr",
    "th",
    "td",
    "dl",
    "dt",
    "dd",
    "figure",
    "figcaption",
    "small",
    "svg",
    "polyline",
    "polygon",
    "circle",
    "text",
    "ul",
    "li",
    "pre",
}
ATTRIBUTES = {
    "lang",
    "charset",
    "http-equiv",
    "content",
    "name",
    "class",
    "viewbox",
    "role",
    "aria-label",
    "points",
    "fill",
    "fill-opacity",
    "stroke",
    "stroke-width",
    "stroke-linejoin",
    "stroke-dasharray",
    "cx",
    "cy",
    "r",
    "x",
    "y",
    "font-size",
    "font-weight",
    "text-anchor",
    "transform",
}


def document(name: str) -> Document:
    return compose_facts(EXAMPLES[name]())


class Reader(HTMLParser):
    """Everything a browser would see."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: dict[str, str] = {}
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name: value or "" for name, value in attrs}

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize("name", EXAMPLES)
def test_html_holds_nothing_that_acts_or_fetches(name: str) -> None:
    made = render_html(document(name)).decode()
    read = Reader(made)
    assert read.tags <= TAGS
    assert set(read.attributes) <= ATTRIBUTES
    assert "url(" not in made
    assert "@import" not in made
    assert made.count("<style") == 1


def test_hostile_names_are_shown_as_they_are() -> None:
    read = Reader(render_html(document("hostile")).decode())
    for told in example_facts.HOSTILE:
        shown = clean(told)
        assert shown[:80] in read.text
    assert "\u202e" not in read.text
    assert "\x00" not in read.text


@pytest.mark.parametrize("name", EXAMPLES)
def test_pdf_is_made_from_everything_and_acts_on_nothing(name: str) -> None:
    made = render_pdf(document(name))
    assert made.startswith(b"%PDF-")
    assert made.rstrip().endswith(b"%%EOF")
    for word in (b"/JavaScript", b"/Launch", b"/URI", b"/EmbeddedFile", b"/OpenAction /"):
        assert word not in made
    assert pages(made) >= 2


@pytest.mark.parametrize("name", ["good", "hostile"])
def test_the_same_document_gives_the_same_bytes(name: str) -> None:
    assert render_pdf(document(name)) == render_pdf(document(name))
    assert render_html(document(name)) == render_html(document(name))


def test_accents_and_the_euro_are_in_the_pdf() -> None:
    made = streams(render_pdf(document("good")))
    for character in "é€":
        assert f"<{ord(character):04X}>".encode() in made.upper()


def test_charts_in_the_pdf_are_lines_and_no_pictures() -> None:
    assert b"/Subtype /Image" not in render_pdf(document("good"))


def test_a_long_table_goes_over_pages_and_is_cut_where_it_is_endless() -> None:
    made = render_html(compose_facts(example_facts.batch(5_000))).decode()
    assert "20-anomaly, 40-anomaly, 60-anomaly, 80-anomaly and 246 more" in made  # one reason, one line
    assert "4,691 more" in made
    assert "Do not rely on 7 of the promoted models alone" in made
    assert pages(render_pdf(document("batch"))) >= 3


def test_characters_that_the_font_lacks_are_marked_and_controls_are_gone() -> None:
    page = PdfPage(document("good"))
    assert page.printable("é€ß漢") == "é€ß\ufffd"
    assert page.printable("a\u202eb\x07c\nd") == "abc d"
    assert page.printable("{nb}") != "{nb}", "fpdf2 would put the number of pages there"


def test_the_fonts_are_there() -> None:
    assert (font_folder() / "DejaVuSans.ttf").exists()


@pytest.mark.parametrize("name", ["failed", "cancelled", "interrupted"])
def test_a_bad_end_says_why_and_what_to_do(name: str) -> None:
    text = Reader(render_html(document(name)).decode()).text
    assert "Scoring needs 10 reports or more, there are 4." in text
    assert "What to do next" in text
    assert "Data and models are as they were before the session." in text


def test_what_a_plant_manager_needs_is_on_the_page() -> None:
    text = Reader(render_html(document("good")).decode()).text
    for told in (
        "promoted", "17,420", "28\u00a0% better", "seasonal naive", "Split certificate", "12,025 to 14,000",
        "Last versions", "torch 2.13.0", "28 (best)", "Débit €/h",
    ):  # fmt: skip
        assert told in text
    assert "016ad5a038c44a31" not in text and "Split note" not in text


def test_no_network_and_no_training_library_is_needed(tmp_path: Path) -> None:
    program = f"""
        import sys
        def watch(event, arguments):
            assert not event.startswith("socket.") or event == "socket.gethostname", event
        sys.addaudithook(watch)
        from pathlib import Path
        from reports.build import build_report
        from tests.reports import example_facts
        build_report(example_facts.good(), Path({str(tmp_path)!r}))
        heavy = {{"torch", "sklearn", "matplotlib", "scipy", "pandas", "flask"}} & set(sys.modules)
        sys.exit(f"imports {{heavy}}" if heavy else 0)
    """
    lines = [line.removeprefix("        ") for line in program.splitlines()]
    subprocess.run([sys.executable, "-c", "\n".join(lines)], cwd=PROJECT, check=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html", "report.pdf"]


def pages(made: bytes) -> int:
    return len(re.findall(rb"/Type /Page\b", made))


def streams(made: bytes) -> bytes:
    """Return the content of all compressed streams."""
    found = re.findall(rb"stream\r?\n(.*?)\r?\nendstream", made, re.DOTALL)
    return b"\n".join(_inflated(one) for one in found)


def _inflated(stream: bytes) -> bytes:
    try:
        return zlib.decompress(stream)
    except zlib.error:
        return stream


def words_of(facts: Any) -> str:
    return Reader(render_html(compose_facts(facts)).decode()).text


def test_names_and_numbers_are_written_as_people_write_them() -> None:
    facts = example_facts.good()
    facts["manifest"]["facts"] |= {
        "sampling_rate_hz": 12_000,
        "last_time": facts["manifest"]["facts"]["last"],
    }
    facts["session"]["options"] = {"num_layers": 2, "window_size": None, "budget_seconds": 120}
    text = words_of(facts)
    assert text.index("step 1: MAE") < text.index("step 24: MAE")
    assert "Sampling rate12,000 Hz" in text and "Budget120 s" in text
    assert "Number of layers2" in text and "Window sizenot set" in text
    assert text.count("2025-12-26 19:00") == 2, "the time span is told in the summary and once below"
    assert "train: 11,950, test: 3,300" in text


def test_one_epoch_has_no_course() -> None:
    facts = example_facts.good()
    facts["history"] = {"epochs": example_facts.epochs(1, 1), "best_epoch": 1, "stopped": "the last epoch"}
    text = words_of(facts)
    assert "In its one epoch the training loss was" in text and "stayed at" not in text


def test_what_limits_the_split_is_told_in_the_summary() -> None:
    facts = example_facts.good()
    facts["manifest"]["facts"]["split_note"] = "Split by recording: there are fewer than 3 specimens of worn"
    assert "fewer than 3 specimens of worn." in " ".join(
        write_by_rules(SessionFacts.from_dict(facts)).summary
    )


def test_advice_names_what_the_headline_hides() -> None:
    facts = example_facts.good()
    facts["manifest"]["metrics"]["metrics"] |= {"accuracy": 0.55, "calibration_error": 0.21}
    facts["manifest"]["figures"][0]["counts"][2] = [4, 9, 0]
    advice = " ".join(write_by_rules(SessionFacts.from_dict(facts)).steps)
    assert "is 0.8377 on validation data and 0.55 on test data" in advice
    assert "No test sample of desserré was recognised" in advice
    assert "probabilities are off by 21\u00a0% on average" in advice


def test_sentences_say_what_the_figures_show_and_no_cause_that_nobody_measured() -> None:
    facts = example_facts.good()
    facts["manifest"]["metrics"]["metrics"] |= {"validation.mse": 1.0, "network.mse": 2.0}
    epochs = [
        {"epoch": 1, "train_loss": 0.5, "val_loss": 0.5},
        {"epoch": 2, "train_loss": 0.6, "val_loss": 0.9},
    ]
    facts["history"] = {"epochs": epochs, "best_epoch": 1, "stopped": None}
    rising = write_by_rules(SessionFacts.from_dict(facts))
    text = " ".join([*rising.steps, *rising.dynamics])
    assert "is 1 on validation data and 2 on test data, which is newer: expect the latter." in text
    assert "narrows" not in text and "differ" not in text
    # The training loss rose as well, which is no overfitting.
    assert "rose by 80\u00a0% up to the end." in text
    epochs[1]["train_loss"] = 0.3
    falling = " ".join(write_by_rules(SessionFacts.from_dict(facts)).dynamics)
    assert "rose by 80\u00a0% up to the end, while the training loss fell: a sign of overfitting." in falling


@pytest.mark.parametrize("render", [render_html, render_pdf])
def test_a_block_of_an_unknown_kind_is_never_left_out(render: Callable[[Document], bytes]) -> None:
    document = Document("title", "subtitle", "badge", "good", "2026-03-01T00:00:00Z", [object()])  # type: ignore[list-item]
    with pytest.raises(AssertionError):
        render(document)


def test_times_in_microseconds_are_a_time_span() -> None:
    facts = example_facts.good()
    facts["manifest"]["facts"] = {"first": 1_704_067_200_000_000, "last": 1_735_689_600_000_000}
    assert SessionFacts.from_dict(facts).time_span == (
        "2024-01-01T00:00:00+00:00",
        "2025-01-01T00:00:00+00:00",
    )


def test_a_fleets_report_counts_devices_and_names_them() -> None:
    facts = example_facts.good()
    manifest = facts["manifest"]
    manifest["certificate"] |= {"unit": "device", "method": "unit", "train": [[1, 2]], "test": [[0, 0]]}
    manifest["metrics"]["held_out"] = 1
    manifest["facts"] = {
        "devices": {"train": ["P-2", "P-3"], "test": ["P-1"]},
        "telemetry_up_to": 3_787,
        "window_note": "Of the 50 rows of a window, the network looks at 5",
    }
    narrative = write_by_rules(SessionFacts.from_dict(facts))
    assert "On 1 held-out device its" in " ".join(narrative.summary)
    assert "the network looks at 5." in " ".join(narrative.summary)
    assert "Only 1 device was held out" in " ".join(narrative.steps)
    page = render_html(compose_facts(facts)).decode()
    assert "<td>P-2, P-3</td>" in page
    assert "3,787" not in page


def test_a_report_says_that_each_device_was_held_out_in_turn() -> None:
    facts = example_facts.good()
    parts = {"unit": "device", "validation": [], "gap": 0}
    folds = [{**parts, "method": "unit", "train": [[n, n]], "test": [[1 - n, 1 - n]]} for n in range(2)]
    facts["manifest"]["certificate"] = {
        **parts, "method": "leave_one_out", "train": [[0, 1]], "test": [], "folds": folds
    }  # fmt: skip
    assert "each of 2 devices in turn was held out" in words_of(facts)
