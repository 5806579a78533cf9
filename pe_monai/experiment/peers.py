# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Networks of other libraries to compare with, which need an optional extra."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from pe_monai.errors import BundleError

SMP_ROW = "smp_unet"


def smp_unet(**kwargs: Any) -> nn.Module:
    """The U-Net of segmentation_models_pytorch; the network input's height and width must be divisible by 32.

    Args:
        kwargs: of ``segmentation_models_pytorch.Unet``.

    Raises:
        BundleError: the package cannot be used here, see :func:`require_smp`.
    """
    require_smp()
    import segmentation_models_pytorch

    return segmentation_models_pytorch.Unet(**kwargs)


def require_smp() -> None:
    """Find out whether segmentation_models_pytorch can be used.

    Raises:
        BundleError: it is not installed, or the torchvision that it loads was built for another PyTorch.
    """
    try:
        import segmentation_models_pytorch  # noqa: F401
    except ImportError as e:
        raise BundleError(f"{SMP_ROW}: {e}; install the extra: pip install 'pe_monai[peers]'.") from e
    except RuntimeError as e:  # of torchvision: its compiled part does not load
        raise BundleError(
            f"{SMP_ROW}: the installed torchvision was not built for PyTorch {torch.__version__} ({e}); install that "
            "one's, for a CPU build of PyTorch the CPU build of torchvision from where you took PyTorch."
        ) from e
