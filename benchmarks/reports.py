"""What a report costs in processor time, and what its charts cost beside matplotlib's.

``python -m benchmarks.reports``
"""

from __future__ import annotations

import io
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial

import numpy as np

from prediction import figures
from prediction.scoring.evaluation import metrics
from reports.facts import SessionFacts
from reports.layout import compose
from reports.narrative import write_by_rules
from reports.render import html, pdf
from storage.models.figures import CurveFigure
from tests.reports.example_facts import good

TIMES = 5
CURVES = 4
POINTS = 200
HELD_OUT = (500, 2_000)


def main() -> None:
    """Print medians of five, in milliseconds of processor time."""
    made, view = figure(), SessionFacts.from_dict(good())
    document = compose(view, write_by_rules(view))
    lines = {
        "import reports and fpdf2": fresh("import reports.build"),
        "import matplotlib's SVG backend": fresh("import matplotlib.backends.backend_svg, matplotlib.figure"),
        "an invented session's report as PDF": spent(lambda: pdf.render_pdf(document)),
        "the same as HTML": spent(lambda: html.render_html(document)),
        **{f"figures of a scoring training, {n:,} held out": spent(partial(scoring, n)) for n in HELD_OUT},
        f"{CURVES} charts of {POINTS} points as SVG, ours": spent(lambda: ours(made)),
        f"{CURVES} charts of {POINTS} points as SVG, matplotlib": spent(lambda: theirs(made)),
    }
    for told, milliseconds in lines.items():
        print(f"{told:50} {milliseconds:8.1f} ms")


def figure() -> CurveFigure:
    """Two curves, as a training has them."""
    steps = list(range(POINTS))
    curves = {
        "training": (steps, [1 / (1 + n) for n in steps]),
        "validation": (steps, [2 / (2 + n) for n in steps]),
    }
    return figures.line("Loss", "epoch", "loss", curves)


def scoring(held_out: int) -> None:
    """Do what each scoring training does for the sake of its report."""
    chance = np.random.default_rng(0)
    level = chance.integers(1, 6, (held_out, 3))
    probabilities = chance.random((held_out, 3, 5), np.float32)
    list(metrics.build_figures(probabilities, level, level.astype(np.float32)))


def ours(made: CurveFigure) -> None:
    """As the reports draw it."""
    from reports.charts.drawing import render_svg
    from reports.charts.figures import draw_figure

    for _ in range(CURVES):
        drawing = draw_figure(made)
        assert drawing is not None
        render_svg(drawing, "Loss")


def theirs(made: CurveFigure) -> None:
    """Draw the same with matplotlib."""
    from matplotlib.figure import Figure

    for _ in range(CURVES):
        drawing = Figure(figsize=(3.4, 2.3))
        axes = drawing.subplots()
        for one in made["series"]:
            axes.plot(np.array(one["x"], float), np.array(one["y"], float), label=one["name"])
        axes.legend()
        drawing.savefig(io.BytesIO(), format="svg")


def spent(work: Callable[[], object]) -> float:
    """Median processor time in milliseconds, imports paid before."""
    work()
    found = []
    for _ in range(TIMES):
        began = time.process_time()
        work()
        found.append(1e3 * (time.process_time() - began))
    return statistics.median(found)


def fresh(code: str) -> float:
    """Median processor time in milliseconds that fresh processes need for an import."""
    program = f"import time; began = time.process_time(); {code}; print(time.process_time() - began)"
    said = [subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
            for _ in range(TIMES)]  # fmt: skip
    return 1e3 * statistics.median(map(float, said))


if __name__ == "__main__":
    main()
