# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Say what works on this machine: versions, CUDA, bfloat16, the weights' hash, optional parts."""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import importlib.util
import platform

from pe_monai.cli.arguments import add_bundle_argument

EXAMPLES = """examples:
  pe_monai doctor
  pe_monai doctor --bundle my_bundle"""

OPTIONAL = {
    "monailabel": "'pe_monai label': see docs/label.md",
    "mlflow": "tracking of trainings: pip install 'pe_monai[mlflow]'",
    "nncf": "export in int8: pip install 'pe_monai[runtimes]'",
    "onnx": "export to ONNX: pip install 'pe_monai[runtimes]'",
    "onnxruntime": "running ONNX: pip install 'pe_monai[runtimes]'",
    "openvino": "the fastest runtime on a CPU: pip install 'pe_monai[runtimes]'",
    "pydicom": "checks of DICOM files: pip install pydicom",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_bundle_argument(parser, "to look at")


def run(options: argparse.Namespace) -> int:
    import torch

    from pe_monai import __version__
    from pe_monai.data import phantom_frame
    from pe_monai.errors import BundleError, WeightsError
    from pe_monai.inferers import has_fast_bf16
    from pe_monai.measure import dice
    from pe_monai.predictor import Predictor

    print(f"pe_monai      {__version__} on Python {platform.python_version()}, {platform.machine()}")
    for name in ("torch", "monai", "pytorch-ignite", "numpy", "itk", "nibabel", "scikit-image"):
        print(f"{name:<13} {_version(name)}")
    cuda = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "none, the CPU is used"
    print(f"CUDA          {cuda}")
    print(
        f"CPU           {torch.get_num_threads()} threads, bfloat16 {'in hardware' if has_fast_bf16() else 'not used'}"
    )
    for name, purpose in OPTIONAL.items():
        spec = importlib.util.find_spec(name)
        found = spec is not None and spec.origin is not None  # a mere folder of that name has none
        print(f"{name:<13} {_version(name) if found else f'absent; {purpose}'}")
    try:
        predictor = Predictor(options.bundle)
    except (BundleError, WeightsError) as e:
        print(f"bundle        PROBLEM: {e}")
        return 1
    print(f"bundle        {predictor.bundle}")
    print(f"weights       sha256 {predictor.weights_sha256}")
    phantom = phantom_frame(seed=1, thickness_mm=15)
    mask = predictor.predict([phantom.image])[0].mask
    if importlib.util.find_spec("monailabel") is not None:
        print(f"label         {_check_label()}")
    print(f"phantom       one frame segmented, Dice {dice(mask, phantom.mask):.2f} with its truth")
    return 0


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:  # such as onnxruntime, which onnxruntime-gpu brings, too
        return "there, its version is not known"


def _check_label() -> str:
    """Whether the server of 'pe_monai label' can be built here, and whether it has the interactive model."""
    from pe_monai.errors import one_line
    from pe_monai.interactive import InteractivePredictor
    from pe_monai.label import shims

    try:
        stood_in = shims.install()
        importlib.import_module("monailabel.interfaces.app")
        importlib.import_module("pe_monai.label.app")
    except Exception as e:  # whatever one of its many dependencies raises
        return f"PROBLEM: {one_line(e)}; use constraints-label.txt in an environment of its own"
    try:
        InteractivePredictor(device="cpu")
        clicks = "with clicks"
    except Exception as e:
        clicks = f"without clicks ({one_line(e)})"
    return f"the server can start, {clicks}; stands in for {', '.join(stood_in) or 'nothing'}"
