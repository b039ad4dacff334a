"""The public names of `dps`."""

from __future__ import annotations

import subprocess
import sys

import dps


def test_every_public_name_can_be_imported() -> None:
    for name in dps.__all__:
        assert getattr(dps, name).__name__ == name


def test_importing_the_package_loads_no_heavy_library() -> None:
    code = "import sys, dps; print({'torch', 'transformers', 'datasets'} & set(sys.modules) or 'none')"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "none"
