"""Entry of `python -m tune.tracking sync DIR`, see `tune.tracking.sync`."""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":  # run as a script or with -m: hand over to the package
    sys.path[0] = str(Path(__file__).resolve().parents[2])
    from tune.tracking import sync as package

    sys.exit(package.main(sys.argv[1:]))
