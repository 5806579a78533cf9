# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Package the MONAI Deploy application for hospitals: a container that takes ultrasound DICOM and gives SEG and SR."""

from __future__ import annotations

import argparse

from pe_monai.cli.arguments import add_bundle_argument

EXAMPLES = """examples:
  pe_monai deploy package -o package
  pe_monai deploy package -o package --variant gpu --bundle my_bundle --tag echo/effusion:1

The application itself, without a container: python -m pe_monai.deploy -i DICOM -o OUT -m package/source/models"""
VARIANTS = ("cpu", "gpu")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    text = "make and check the build context of the package, and the image where there is a docker engine"
    package = actions.add_parser("package", help=text, description=text)
    package.add_argument("-o", "--output", required=True, metavar="OUT", help="folder; absent, or an earlier package")
    package.add_argument("--variant", choices=VARIANTS, default="cpu", help="which PyTorch is in it (default: cpu)")
    add_bundle_argument(package, "to package")
    package.add_argument("--tag", metavar="NAME", help="of the image (default: pe_monai-VARIANT:VERSION)")
    package.add_argument("--base-image", metavar="NAME", help="of the container (default: CUDA 13 on Ubuntu 24.04)")
    package.add_argument("--torch-index", metavar="URL", help="package index that has this variant's PyTorch")


def run(options: argparse.Namespace) -> int:
    try:
        from pe_monai.deploy.packaging import make_package
    except ModuleNotFoundError as e:
        from pe_monai.errors import DeployError

        raise DeployError(f"{e.name} is missing: pip install -c constraints-deploy.txt 'pe_monai[deploy]'") from e
    package = make_package(
        options.output, options.bundle, options.variant, options.tag, options.base_image, options.torch_index
    )
    print(f"build context, checked: {package.context}")
    print(f"image: {package.image or 'not built'}")
    for need in package.missing:
        print(f"missing for the image: {need}")
    return 0
