# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Benchmarks: what is compared is run side by side in one process, in turns, and told as ratios."""
