"""Entry of `python -m tune.tracking sync DIR`, see `tune.tracking.sync`."""

from __future__ import annotations

import sys

from tune.tracking.sync import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
