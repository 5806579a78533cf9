# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Export the bundle's network as TorchScript, ONNX or OpenVINO model, checked against PyTorch before it is kept."""

from __future__ import annotations

import argparse

from pe_monai.cli.arguments import add_bundle_argument, positive

EXAMPLES = """examples:
  pe_monai export --format openvino --precision bf16 -o exported/openvino-bf16
  pe_monai export --format openvino --precision int8 --calibration DATA -o exported/openvino-int8
  pe_monai segment frames/ -o results --runtime exported/openvino-int8"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--format", choices=("torchscript", "onnx", "openvino"), required=True, help="of the model")
    parser.add_argument(
        "--precision", choices=("fp32", "bf16", "int8"), default="fp32", help="it computes in (default: fp32)"
    )
    parser.add_argument("-o", "--output", required=True, metavar="OUT", help="folder; absent, or an earlier export")
    add_bundle_argument(parser, "to export")
    parser.add_argument(
        "--calibration",
        metavar="DATA",
        help="data set's folder, for int8: training frames set the ranges, validation frames measure the loss of Dice",
    )
    parser.add_argument(
        "--frames", type=positive, default=200, metavar="N", help="training frames to calibrate on (default: 200)"
    )


def run(options: argparse.Namespace) -> int:
    from pe_monai.predictor import Predictor
    from pe_monai.runtimes.export import export_network

    predictor = Predictor(options.bundle, device="cpu")
    manifest = export_network(
        predictor, options.format, options.precision, options.output, options.calibration, options.frames
    )
    for name, value in manifest["agreement"].items():
        print(f"{name.replace('_', ' ')}: {value:.4g}")
    print(f"{options.format} {options.precision} of the weights {manifest['weights_sha256'][:12]} in {options.output}")
    return 0
