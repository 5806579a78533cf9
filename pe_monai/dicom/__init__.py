# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
