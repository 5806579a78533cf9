# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Pericardial effusion in echocardiography: found, outlined and measured with MONAI. For research use only."""

import contextlib
import os
from importlib.util import find_spec

__version__ = "0.1.0"

RESEARCH_USE = "For research use only; not a medical device."  # to people
INTENDED_USE = "research use only, not a medical device"  # in files of results

# PyTorch then lays large tensors on huge pages where Linux has them (docs/speed.md); read at its first tensor
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

if find_spec("holoscan") is not None:  # then MONAI imports it, by way of MONAI Deploy, and fails without a CUDA runtime
    from pe_monai.deploy.cuda_runtime import load_cuda_runtime
    from pe_monai.errors import DeployError

    with contextlib.suppress(DeployError):
        load_cuda_runtime()
