"""Where to write labels in a picture so that none lies on another label or on another point."""

from __future__ import annotations

from collections.abc import Sequence

LINE = 12.0
"""Height of a label."""
LETTER = 5.4
"""Width of a letter."""
MARK = 5.0
"""Half the width of a point's mark."""

Box = tuple[float, float, float, float]


def unstacked(points: Sequence[tuple[float, float, str]], low: float, high: float) -> list[tuple[float, float, float, str]]:
    """The height at which each point's label is free: its own height, or the nearest free one above or below.

    Settings:
        points: x, y and text, in the picture's units, y upwards.
        low: no label is put below this,
        high: nor above this, unless there is no room at all.
    Returns:
        (x, y, height of the label, text), the highest point first.
    """
    marks: list[tuple[int, Box]] = [(place, (x - MARK, x + MARK, y - MARK, y + MARK)) for place, (x, y, _) in enumerate(points)]
    taken: list[Box] = []
    found = []
    middle = sum(y for _, y, _ in points) / max(1, len(points))
    for place in sorted(range(len(points)), key=lambda i: (-points[i][1], points[i][0], points[i][2])):
        x, y, text = points[place]
        others = [box for mark, box in marks if mark != place]
        height = _free(x, y, text, [*taken, *others], (low, high), first=1 if y > middle else -1)
        taken.append(_box(x, height, text))
        found.append((x, y, height, text))
    return found


def _box(x: float, height: float, text: str) -> Box:
    return x + 8, x + 12 + LETTER * len(text), height - LINE / 2, height + LINE / 2


def _free(x: float, y: float, text: str, taken: Sequence[Box], limits: tuple[float, float], first: int) -> float:
    for step in range(60):
        shift = (step + 1) // 2 * (LINE / 2) * (first if step % 2 else -first)
        box = _box(x, y + shift, text)
        if limits[0] <= box[2] and box[3] <= limits[1] and not any(_overlap(box, other) for other in taken):
            return y + shift
    return y


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[1] and other[0] < one[1] and one[2] < other[3] and other[2] < one[3]
