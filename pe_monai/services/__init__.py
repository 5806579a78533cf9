# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Studies from an archive or a scanner, through a queue on disk, and their results back."""
