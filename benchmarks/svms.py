"""The SVMs of Table 7 from end to end: all layers, all splits, their seconds and their memory.

Needs Caltech-101 under ``ZFNB_DATA``. The command runs in a process of its own with an empty cache:
features of layers 1 to 5, dot products, and the SVMs of five splits, C chosen inside each. There is
no peer: the bounds are those that the package promises on two cores. It takes some six minutes.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from benchmarks.timing import finish, parser

SECONDS, GIGABYTES = 15 * 60, 8.0  # after the features; of the whole process, at its peak


def main() -> int:
    options = parser(__doc__, repeats=1)
    options.add_argument("--splits", type=int, default=5, help="random splits (5)")
    arguments = options.parse_args()
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder) / "table7.json"
        words = [sys.executable, "-m", "zfnb.transfer_cli", "table7", "--classifier", "svm"]
        words += ["--splits", str(arguments.splits), "--threads", str(arguments.threads)]
        words += ["--cache", folder, "--results", str(results)]
        environment = {**os.environ, "OMP_NUM_THREADS": str(arguments.threads)}
        environment["ZFNB_CACHE"] = folder  # which pictures can be read is kept there
        start = time.time()
        subprocess.run(words, check=True, env=environment)
        end = time.time()
        (run,) = json.loads(results.read_text(encoding="utf-8"))["runs"]
        features = [p for p in Path(folder).rglob("*.npy") if "products" not in p.name]
        extracted = max(path.stat().st_mtime for path in features)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e9
    peak *= 1 if sys.platform == "darwin" else 1024  # in bytes there, else in KiB
    facts = {
        "network": f"{run['network']}:{run['weights']}",
        "pictures": run["data"]["pictures"],
        "splits": arguments.splits,
        "seconds_features": round(extracted - start, 1),
        "seconds_svms": round(sum(row["seconds"] for row in run["rows"]), 1),
        "seconds_svms_and_dot_products": round(end - extracted, 1),
        "peak_gigabytes": round(peak, 2),
    }
    code = finish("svms", [], arguments, facts)
    for what, value, bound in (
        ("seconds after the features", end - extracted, SECONDS),
        ("gigabytes at the peak", peak, GIGABYTES),
    ):
        if value > bound:
            print(f"The {what} are {value:.1f}, more than {bound:g}.", file=sys.stderr)
            code = code or int(arguments.check)
    return code


if __name__ == "__main__":
    sys.exit(main())
