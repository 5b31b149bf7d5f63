"""Read every picture of a table without a window, with the options, files and exit codes of ``cadx batch``:

Slicer --no-splash --no-main-window --python-script batch.py [--] --cases CASES.csv --bundle FOLDER --out FOLDER
[--resume]

Runs on slicer-core too (python batch.py ...). ``--install`` first installs what is missing. Research use only, not
for clinical decisions.
"""

import sys
from pathlib import Path

# the installed package lies beside this folder, a checkout's in Training
for folder in (Path(__file__).resolve().parents[1], Path(__file__).resolve().parents[2] / "Training"):
    if (folder / "cadx").is_dir() and str(folder) not in sys.path:
        sys.path.append(str(folder))

from cadx.slicer.script import run

if __name__ == "__main__":
    sys.exit(run("batch", sys.argv[1:]))
