# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The MONAI Deploy application: ``python -m pe_monai.deploy``, and its packaging. Needs the extra ``deploy``.

Thin adapters: what is done to clips is that of :mod:`pe_monai.studies`, as for ``pe_monai segment``.
"""
