"""``python -m cadx.phantom --seed N --out FOLDER``: one patient, with nothing beyond NumPy, SciPy and SimpleITK.

With ``--head`` a head with a tumour: ``volume.nii.gz`` and ``tumour.nii.gz``, its mask.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from cadx.errors import CadxError
from cadx.io.atomic import staged_folder
from cadx.io.files import write_volume
from cadx.phantom import write_cohort
from cadx.phantom.head import make_head


def write_head(out: Path, seed: int) -> None:
    """A head with a tumour, and the tumour's mask."""
    head = make_head(seed, 0, tumour=True)
    with staged_folder(out) as stage:
        write_volume(stage / "volume.nii.gz", head.volume)
        write_volume(stage / "tumour.nii.gz", head.tumour)


parser = argparse.ArgumentParser(prog="python -m cadx.phantom")
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--out", type=Path, required=True)
parser.add_argument("--head", action="store_true")
given = parser.parse_args()
try:
    if given.head:
        write_head(given.out, given.seed)
    else:
        write_cohort(given.out, 1, given.seed)
except CadxError as error:
    print(f"cadx: {error}", file=sys.stderr)
    sys.exit(error.exit_code)
