"""``python -m tests.monitoring.live``: asks every query, and writes the page and the pictures."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tests.monitoring.live import ask_all, monitored
from tests.monitoring.live.queries import DASHBOARDS
from tests.monitoring.live.report import page, picture

RESULTS = Path(__file__).parents[3] / "benchmarks" / "results"


def main() -> int:
    """The number of queries without an answer."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seconds", type=float, default=120.0, help="how long the suite is under load")
    seconds = options.parse_args().seconds
    with tempfile.TemporaryDirectory() as folder, monitored(Path(folder)) as prometheus:
        time.sleep(seconds)
        asked = ask_all(prometheus)
        (RESULTS / "dashboards.md").write_text(page(asked, seconds))
        for path in sorted(DASHBOARDS.glob("*.json")):
            picture(prometheus, path.stem, RESULTS / f"dashboard-{path.stem}.png", seconds)
    lost = [row for row in asked if not row.ok]
    for row in lost:
        print(f"no answer: {row.where}, {row.title}\n    {row.expression}")
    print(f"{len(asked)} queries, {len(lost)} without an answer: {RESULTS / 'dashboards.md'}")
    return min(len(lost), 1)


if __name__ == "__main__":
    sys.exit(main())
