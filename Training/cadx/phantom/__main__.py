"""``python -m cadx.phantom --seed N --out FOLDER``: one patient, with nothing beyond NumPy, SciPy and SimpleITK."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from cadx.errors import CadxError
from cadx.phantom import write_cohort

parser = argparse.ArgumentParser(prog="python -m cadx.phantom")
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--out", type=Path, required=True)
given = parser.parse_args()
try:
    write_cohort(given.out, 1, given.seed)
except CadxError as error:
    print(f"cadx: {error}", file=sys.stderr)
    sys.exit(error.exit_code)
