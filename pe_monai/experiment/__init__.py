# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The paper's study: rows (recipes) trained under protocols (splits), scored alike, and set side by side."""
