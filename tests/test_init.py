# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SETTING = Path("/sys/kernel/mm/transparent_hugepage/enabled")

SCRIPT = """
import torch
from pathlib import Path
import monai.bundle, pe_monai.predictor, pe_monai.training
tensor = torch.ones(8 << 20)
line = next(line for line in Path("/proc/self/smaps_rollup").read_text().splitlines() if "AnonHugePages" in line)
print(int(line.split()[1]))
"""


@pytest.mark.skipif(
    not SETTING.is_file() or "[madvise]" not in SETTING.read_text(), reason="huge pages are not for the asking here"
)
@pytest.mark.parametrize(("chosen", "lies_on_them"), [(None, True), ("0", False)], ids=["default", "switched off"])
def test_large_tensors_lie_on_huge_pages(chosen, lies_on_them):
    environment = {name: value for name, value in os.environ.items() if name != "THP_MEM_ALLOC_ENABLE"}
    if chosen:
        environment["THP_MEM_ALLOC_ENABLE"] = chosen
    command = [sys.executable, "-c", SCRIPT]
    kilobytes = int(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)
    assert (kilobytes >= 16 << 10) == lies_on_them  # half of the tensor or more
