"""The names of `dps`, whichever module is imported first."""

from __future__ import annotations

import subprocess
import sys


def test_a_submodule_does_not_hide_the_function_of_its_name() -> None:
    code = "from dps.finetune import run; import dps.selection; import dps; "
    code += "print(dps.finetune.__name__, dps.selection.__name__)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["finetune", "dps.selection"]
