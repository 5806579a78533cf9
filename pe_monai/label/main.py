# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""What ``monailabel start_server --app`` looks for in this folder."""

from pe_monai.label import shims

shims.install()

from pe_monai.label.app import EffusionApp  # noqa: E402

__all__ = ["EffusionApp"]
