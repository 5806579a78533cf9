# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Pericardial effusion in echocardiography: found, outlined and measured with MONAI. For research use only."""

__version__ = "0.1.0"
