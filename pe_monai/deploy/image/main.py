# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""What a container of the MONAI Application Package starts; pe_monai lies beside it."""

import sys

from pe_monai.deploy.__main__ import main

if __name__ == "__main__":
    sys.exit(main())
