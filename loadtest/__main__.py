"""Load a server and report: ``python -m loadtest load|overload|soak``; docs/load.md."""

from __future__ import annotations

import argparse
import sys
from contextlib import nullcontext
from pathlib import Path

from loadtest.phases import Loader
from loadtest.report import write_report
from loadtest.scenarios import SCENARIOS
from loadtest.server import Target, own_server, watched
from loadtest.studies import MIXES, make_studies

_HERE = Path(__file__).parent


def main(arguments: list[str] | None = None) -> int:
    """Run one scenario; the exit status is 1 where a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m loadtest", description=__doc__)
    parser.add_argument("scenario", choices=SCENARIOS)
    parser.add_argument("--host", help="base URL of a running server; by default one of its own is started")
    parser.add_argument("--grpc", default="", help="with --host: host:port of its gRPC service")
    parser.add_argument("--scale", type=float, default=1.0, help="multiplies how long the load lasts")
    parser.add_argument("--out", type=Path, default=_HERE / "out", help="where studies, records and Locust's pages go")
    parser.add_argument("--results", type=Path, default=_HERE / "results", help="where the report goes")
    options = parser.parse_args(arguments)
    scenario = SCENARIOS[options.scenario]
    make_studies(MIXES[scenario.mix], options.out / "studies")
    with nullcontext(Target(options.host, options.grpc)) if options.host else own_server() as target:
        loader = Loader(target, scenario.mix, options.out / options.scenario, options.out / "studies")
        with watched(target) as memory:
            outcome = scenario.run(loader, target, memory, options.scale)
        page = write_report(options.scenario, scenario, outcome, target, memory, options.results / options.scenario)
    for check in outcome.checks:
        print(f"{'kept  ' if check.kept else 'BROKEN'} {check.promise}: {check.found}")
    print(page)
    return 0 if all(check.kept for check in outcome.checks) else 1


if __name__ == "__main__":
    sys.exit(main())
