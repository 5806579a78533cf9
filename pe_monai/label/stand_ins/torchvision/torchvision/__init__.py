# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Stands in for torchvision, of which MONAI Label imports two functions that draw tiles of whole slides."""
