"""Requests by chance: whatever comes, the server says what is wrong and goes on. bench/fuzzing.py sends ten thousand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx2
import pytest
from bench.fuzzing import ADMIN, fuzz, house_in

from pegbox.serve.http import make_app


def test_no_request_breaks_the_server(tmp_path: Path, serving: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "pegbox.serve")  # what is logged may break it too
    with serving(make_app(house_in(tmp_path))) as url, httpx2.Client(base_url=url, timeout=30) as http:
        seen, wrong = fuzz(http, 0, 400, tmp_path / "soft")
        assert wrong == []
        assert {200, 201, 400, 404, 422} <= seen.keys()
        asked = {"json": {"rows": ["a"]}, "headers": {"authorization": f"Bearer {ADMIN}"}}
        assert http.post("/v1/prompts/soft@1/predict", **asked).status_code == 200
