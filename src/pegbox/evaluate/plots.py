"""The report's pictures, as SVG that takes its colours from the page and so follows light and dark."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from pegbox.evaluate.curves import Curve
from pegbox.evaluate.labels import LINE, unstacked
from pegbox.evaluate.lines import Line, Summary
from pegbox.evaluate.measured import run_score
from pegbox.evaluate.record import Comparison
from pegbox.evaluate.standing import ZERO_SHOT
from pegbox.evaluate.terms import ACCURACY
from pegbox.evaluate.wording import visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Colours that no one would draw with stand for names that the page's style sheet gives a colour.
COLOURS = {
    "ink": "#010101",
    "muted": "#020202",
    "grid": "#030303",
    "reference": "#040404",
    "hard": "#050505",
    "soft": "#060606",
    "hybrid": "#070707",
    "surface": "#080808",
}
MARKS = {"reference": "o", "hard": "s", "soft": "D", "hybrid": "^"}
WIDTH = 9.0
"""Inches; the page scales the picture to its own width."""


def _figure(height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(WIDTH, height), dpi=72, facecolor="none")  # 72: a pixel is a point, which is a unit of SVG


def _axes(figure: Figure, left: float, bottom: float, right: float, top: float) -> Axes:
    """Axes with these margins in inches, drawn in the page's colours."""
    width, height = figure.get_size_inches()
    axes = figure.add_axes((left / width, bottom / height, 1 - (left + right) / width, 1 - (bottom + top) / height))
    axes.set_facecolor("none")
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(COLOURS["grid"])
    axes.tick_params(which="both", colors=COLOURS["muted"], labelsize=9, length=0)
    axes.grid(color=COLOURS["grid"], linewidth=0.8)
    axes.set_axisbelow(True)
    return axes


def svg(figure: Figure, name: str) -> str:
    """The figure as an SVG element. The same figure always gives the same text.

    Settings:
        name: told apart from the page's other pictures by this.
    """
    from matplotlib import rc_context
    from matplotlib.text import Text

    for written in figure.findobj(Text):
        written.set_parse_math(False)  # a dollar sign in a method's name is a dollar sign
    out = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": name}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"Glyph \d+ ")  # text stays text: the page's own fonts draw it
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = out.getvalue()
    text = text[text.index("<svg") :]
    for colour, code in COLOURS.items():
        text = text.replace(code, f"var(--{colour})")
    text = re.sub(r' id="(?:figure|axes|patch|text|line2d|matplotlib\.axis|xtick|ytick|legend|[A-Z]\w+)_\d+"', "", text)
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    return re.sub(r'width="[\d.]+pt" height="[\d.]+pt"', 'role="img"', text, count=1)


def forest(summary: Summary, comparison: Comparison) -> str:
    """The main score of each method with its interval; small dots are single seeds."""
    lines = summary.methods
    figure = _figure(0.75 + 0.32 * len(lines))
    axes = _axes(figure, left=1.5, bottom=0.5, right=1.7, top=0.1)
    axes.grid(visible=False, axis="y")
    seeds = _seed_scores(comparison)
    base = summary.find(ZERO_SHOT)
    if base is not None:
        axes.axvline(100 * base.main.value, color=COLOURS["muted"], linewidth=1, linestyle=(0, (4, 3)))
    for place, line in enumerate(lines):
        colour = COLOURS[line.kind]
        _whisker(axes, line, place)
        own = [100 * value for value in seeds[line.method]] if len(line.seeds) > 1 else []
        axes.plot(own, [place + 0.3] * len(own), marker="o", markersize=2.6, linestyle="", color=colour, alpha=0.8)
        ends = f"{100 * line.main.low:.1f} to {100 * line.main.high:.1f}"
        for x, said, name in ((1.03, f"{100 * line.main.value:.1f}", "ink"), (1.10, ends, "muted")):
            axes.text(x, place, said, transform=axes.get_yaxis_transform(), va="center", fontsize=9.5, color=COLOURS[name])
    axes.set_yticks(range(len(lines)), [visible(line.method) for line in lines], fontsize=10, color=COLOURS["ink"])
    axes.set_ylim(len(lines) - 0.4, -0.6)
    axes.set_xlabel(f"{_titled(summary)} (95% interval)", color=COLOURS["muted"], fontsize=9)
    return svg(figure, "forest")


def _whisker(axes: Axes, line: Line, place: float) -> None:
    colour, found = COLOURS[line.kind], line.main
    axes.plot([100 * found.low, 100 * found.high], [place, place], color=colour, linewidth=2.2, solid_capstyle="round")
    axes.plot(
        [100 * found.value], [place], marker=MARKS[line.kind], markersize=7.5, color=colour, markeredgecolor=COLOURS["surface"]
    )


def _seed_scores(comparison: Comparison) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for cell in comparison.cells:
        found.setdefault(cell.method, []).append(run_score(comparison, cell))
    return found


def _titled(summary: Summary) -> str:
    """What the axis of the main score is called."""
    return "test accuracy, %" if summary.title == ACCURACY else f"{visible(summary.title)} on test rows"


def costs(summary: Summary) -> str | None:
    """The main score against the time to answer one row and against the time to tune; None where neither was measured."""
    panels: list[tuple[str, list[tuple[float, Line]]]] = [
        ("milliseconds to answer one row", [(line.cost.predict_ms_1 or 0.0, line) for line in summary.methods]),
        ("seconds to tune", [(line.cost.tune_seconds, line) for line in summary.methods]),
    ]
    shown = [(name, [(x, line) for x, line in pairs if x > 0]) for name, pairs in panels]
    shown = [(name, pairs) for name, pairs in shown if pairs]
    if not shown:
        return None
    figure, room = _figure(3.6), WIDTH / len(shown)
    for number, (name, pairs) in enumerate(shown):
        axes = _axes(figure, 0.55 + number * room, 0.55, WIDTH - (number + 1) * room + 0.35, 0.15)
        _cost_panel(axes, name, pairs)
        if number == 0:
            axes.set_ylabel(_titled(summary), color=COLOURS["muted"], fontsize=9)
    return svg(figure, "costs")


def _cost_panel(axes: Axes, name: str, pairs: Sequence[tuple[float, Line]]) -> None:
    from matplotlib.ticker import LogLocator

    axes.set_xscale("log")
    xs = [x for x, _ in pairs]
    axes.set_xlim(min(xs) / 1.6, max(xs) * 1.6 * (max(xs) / min(xs)) ** 0.3)
    lows, highs = [100 * line.main.low for _, line in pairs], [100 * line.main.high for _, line in pairs]
    axes.set_ylim(min(lows) - 3, max(highs) + 3 + 0.2 * (max(highs) - min(lows)))  # above: room for labels
    axes.set_yticks([tick for tick in axes.get_yticks() if tick <= 100])
    for x, line in pairs:
        found, colour = line.main, COLOURS[line.kind]
        axes.plot([x, x], [100 * found.low, 100 * found.high], color=colour, linewidth=1.4, alpha=0.7)
        axes.plot(x, 100 * found.value, marker=MARKS[line.kind], markersize=7, color=colour, markeredgecolor=COLOURS["surface"])
    _label(axes, [(x, 100 * line.main.value, line.method) for x, line in pairs])
    axes.set_xlabel(name, color=COLOURS["muted"], fontsize=9)
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if max(xs) < 40 * min(xs) else (1.0,)))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.minorticks_off()


def learning(curves: Sequence[Curve], score: str = "accuracy") -> str | None:
    """The score on dev rows while tuning, vectors by step and words by candidate; None where nothing was recorded.

    Settings:
        score: what it is called.
    """
    kinds = [("steps", "optimiser step"), ("candidates", "candidate")]
    shown = [(label, [c for c in curves if c.axis == axis]) for axis, label in kinds]
    shown = [(label, own) for label, own in shown if own]
    if not shown:
        return None
    figure, room = _figure(3.5), WIDTH / len(shown)
    for number, (label, own) in enumerate(shown):
        axes = _axes(figure, 0.55 + number * room, 0.55, WIDTH - (number + 1) * room + 0.35, 0.15)
        _curve_panel(axes, own)
        axes.set_xlabel(label, color=COLOURS["muted"], fontsize=9)
        if number == 0:
            axes.set_ylabel(f"{score} on dev rows, %", color=COLOURS["muted"], fontsize=9)
    return svg(figure, "learning")


def _curve_panel(axes: Axes, curves: Sequence[Curve]) -> None:
    ends: dict[str, list[tuple[float, float]]] = {}
    styles = ["-", (0, (5, 2)), (0, (1, 1.5)), (0, (5, 2, 1, 2))]
    order = {(c.kind, c.method): None for c in curves}
    kin = {key: [k for k in order if k[0] == key[0]].index(key) for key in order}
    for curve in curves:
        xs, ys = np.asarray(curve.x, dtype=float), 100 * np.asarray(curve.y, dtype=float)
        axes.plot(
            xs, ys, color=COLOURS[curve.kind], linestyle=styles[kin[curve.kind, curve.method] % len(styles)],
            linewidth=1.6 if curve.chosen else 0.8, alpha=0.9 if curve.chosen else 0.25,
            drawstyle="steps-post" if curve.axis == "candidates" else "default",
        )  # fmt: skip
        if curve.chosen:
            ends.setdefault(curve.method, []).append((float(xs[-1]), float(ys[-1])))
    low, high = axes.get_xlim()
    ticks = [tick for tick in axes.get_xticks() if low <= tick <= high]
    axes.set_xlim(low, high + 0.32 * (high - low))
    axes.set_xticks(ticks)
    means = {name: np.mean(own, axis=0) for name, own in ends.items()}
    _label(axes, [(float(x), float(y), name) for name, (x, y) in means.items()])


def _label(axes: Axes, places: Sequence[tuple[float, float, str]]) -> None:
    """Writes each text beside its point (given in data units), moved and tied to it where it would lie on another."""
    from matplotlib.transforms import IdentityTransform

    pixels = [axes.transData.transform((x, y)) for x, y, _ in places]
    points = [(float(x), float(y), text) for (x, y), (_, _, text) in zip(pixels, places, strict=True)]
    box = axes.get_window_extent()
    for x, y, height, text in unstacked(points, box.y0, box.y1):
        if abs(height - y) >= LINE:
            axes.plot([x, x + 9], [y, height], transform=IdentityTransform(), color=COLOURS["muted"], linewidth=0.6, zorder=1)
        axes.text(
            x + 10,
            height,
            visible(text),
            transform=IdentityTransform(),
            fontsize=8.5,
            va="center_baseline",
            color=COLOURS["ink"],
        )
