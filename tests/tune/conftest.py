"""What the tests of tuning share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from pegbox.tune.trail import Event, Trail


class KilledError(Exception):
    """What a listener raises where a kill would come."""


@pytest.fixture
def killed_after() -> Callable[[Path, int], AbstractContextManager[Trail]]:
    """A trail in a folder, for tuning that is killed after so many events; the test fails where it is not."""

    @contextmanager
    def killed(folder: Path, events: int) -> Iterator[Trail]:
        seen = 0

        def listen(event: Event) -> None:
            nonlocal seen
            seen += 1
            if seen > events:
                raise KilledError

        with pytest.raises(KilledError):
            yield Trail(folder, listen)

    return killed
