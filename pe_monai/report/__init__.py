# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Results for people: pictures of frames with what was outlined and measured."""
