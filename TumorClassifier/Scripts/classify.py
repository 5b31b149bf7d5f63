"""Read a picture, or slices of a volume, without a window, with the options, files and exit codes of ``cadx classify``:

Slicer --no-splash --no-main-window --python-script classify.py [--] --volume VOLUME --slice 3,5-9 --bundle FOLDER --out
FOLDER, or --image PICTURE in the place of volume and slice

Runs on slicer-core too (python classify.py ...). ``--install`` first installs what is missing. Research use only, not
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
    sys.exit(run("classify", sys.argv[1:]))
