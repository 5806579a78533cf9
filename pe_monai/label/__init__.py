# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""A MONAI Label app: outline, correct and learn, in a browser and in the clients people have."""
