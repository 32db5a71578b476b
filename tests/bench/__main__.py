"""`make bench`: ratios and peers measured in one run, with the machine and the versions.

Not a test: nothing here passes or fails by itself. `--write` keeps the raw figures in docs/benchmarks.md.
"""

import argparse
import json
import sys
import tempfile
from itertools import chain
from pathlib import Path

from tests.bench import fair
from tests.bench.ratios import Ratio, bench_load, bench_metrics

DOCS = Path(__file__).parents[2] / "docs" / "benchmarks.md"
INTRODUCTION = """# Benchmarks

Written by `make bench ARGS="--write"`. A figure is of one run of whole processes; a ratio under 1.3 is within noise.
"""


def _report(machine: str, ratios: list[Ratio], peers: list[str], orders: int) -> str:
    shown = [r for r in ratios if not r.name.startswith(" ")]
    rows = [
        f"| {r.name} | {r.value:.2f} | {r.bar} | {'holds' if r.holds else 'falls short'} | {r.yardstick} |"
        for r in shown
    ]
    parts = [
        INTRODUCTION,
        f"{fair.today()}, {orders:,} order lines. {machine}.\n",
        "## Ratios\n",
        *(
            ["| | ratio | bar | | against |", "|---|---|---|---|---|", *rows, ""]
            if rows
            else ["Not measured in this run.\n"]
        ),
        f"## Peers\n\n{(fair.__doc__ or '').partition(chr(10) * 2)[2]}",
        *peers,
    ]
    return "\n".join(parts) + "\n"


def main() -> None:
    """Print every ratio and what peers take; `--json` for the evidence."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--orders", type=int, default=1_000_000)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--only", choices=("ratios", "peers"))
    parser.add_argument("--peers-python", default=str(Path(sys.prefix) / "bench" / "bin" / "python"))
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    ratios: list[Ratio] = []
    peers: list[str] = []
    machine = fair.machine()
    print(machine, flush=True)
    with tempfile.TemporaryDirectory(prefix="backhaul-bench-") as folder:
        if options.only != "peers":
            for ratio in chain(bench_load(Path(folder), options.orders), bench_metrics(Path(folder) / "whole")):
                print(ratio, flush=True)
                ratios.append(ratio)
        if options.only != "ratios" and Path(options.peers_python).exists():
            peers = fair.table(*fair.compare(Path(folder), options.orders, options.peers_python))
            print("\n".join(peers), flush=True)
    if options.json:
        kept = ("name", "yardstick", "value", "bar", "holds")
        options.json.write_text(
            json.dumps([{k: getattr(r, k) for k in kept} | {"name": r.name.strip()} for r in ratios])
        )
    if options.write:
        DOCS.write_text(_report(machine, ratios, peers, options.orders), encoding="utf-8")


if __name__ == "__main__":
    main()
