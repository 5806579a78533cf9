# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""``python -m pe_monai``."""

import sys

from pe_monai.cli import main

if __name__ == "__main__":
    sys.exit(main())
