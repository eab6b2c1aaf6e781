"""How fast the local engine is: ours (B), beside the binding's handler (A) and llama-server (C).

    python tests/benchmarks/bench_engine.py --llama-server PATH [--rounds 3] [--only NAME ...]

The pair of models is made by the script (random weights, 135M of text at Q8_0, 86M of eyes, 256
tokens a picture), and kept in ``--pair FOLDER`` if one is named. All three get the same weights,
context, threads and questions, in turns, in one run. A takes most of the time: a full run with
three rounds is about half an hour on two cores. Ends with 1 when a measure misses its mark.
"""

import argparse
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

from engine_contestants import Sizes
from engine_material import Row, make_pair
from engine_measures import MEASURES, Bench


def main() -> int:
    """Measure, print a table, and return 0 when every mark is reached."""
    args = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that no server is left behind
    with tempfile.TemporaryDirectory() as folder:
        text, projector = make_pair(args.pair or Path(folder))
        bench = Bench(
            text=text,
            projector=projector,
            sizes=Sizes(
                threads=args.threads,
                repack=not args.no_repack,
                flash_attention=args.flash_attention,
            ),
            server=args.llama_server,
            server_arguments=args.server_arguments.split(),
            rounds=1 if args.quick else args.rounds,
            quick=args.quick,
            turns=args.turns,
            with_handler=not args.without_handler,
        )
        rows: list[Row] = []
        for name in args.only or MEASURES:
            began = time.perf_counter()
            found = MEASURES[name](bench)
            print(f"# {name}: {time.perf_counter() - began:.0f} s, load {os.getloadavg()[0]:.1f}")
            _print(found)
            rows += found
    print(f"\n{bench.rounds} rounds, {bench.sizes.threads} threads, {os.cpu_count()} cores")
    _print(rows)
    missed = sum(row.passed is False for row in rows)
    print(f"{missed} missed" if missed else "every mark reached")
    return 1 if missed else 0


def _print(rows: list[Row]) -> None:
    widths = [max(len(r.measure) for r in rows), max(len(r.measured) for r in rows)]
    for row in rows:
        verdict = {True: "pass", False: "MISSED", None: "-"}[row.passed]
        line = f"{row.measure:{widths[0]}}  {row.measured:{widths[1]}}  {row.required}  {verdict}"
        print(line, flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--llama-server", type=Path, metavar="PATH", help="take part as C")
    parser.add_argument(
        "--server-arguments", default="", metavar="TEXT", help="more for C: '-fa off'"
    )
    parser.add_argument("--without-handler", action="store_true", help="leave A out: it is slow")
    parser.add_argument(
        "--no-repack",
        action="store_true",
        help="for all three; GCC 12's llama.cpp ends at AMX processors without it",
    )
    parser.add_argument(
        "--flash-attention", default="auto", choices=("auto", "on", "off"), help="of B"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--turns", type=int, default=1000, help="of the memory measure")
    parser.add_argument(
        "--only",
        action="append",
        choices=list(MEASURES),
        metavar="NAME",
        help=f"may be given more than once: {', '.join(MEASURES)}",
    )
    parser.add_argument("--pair", type=Path, metavar="FOLDER", help="keep the models here")
    parser.add_argument("--quick", action="store_true", help="one small round: does it run?")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
