# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""What a package's configuration, ``app.yaml``, says about the model in it."""

from __future__ import annotations

from pathlib import Path

import yaml

from pe_monai.errors import DeployError


def expected_hash(config: str | Path | None) -> str | None:
    """SHA-256 that the model must have, or None where there is no configuration or it does not say.

    Args:
        config: the file, from ``HOLOSCAN_CONFIG_PATH`` in a package's container.

    Raises:
        DeployError: it is no YAML.
    """
    if not config or not Path(config).is_file():
        return None
    try:
        content = yaml.safe_load(Path(config).read_text(encoding="utf-8"))
    except yaml.YAMLError as e:
        raise DeployError(f"{config}: is no YAML; take the app.yaml of the package.") from e
    model = content.get("model") if isinstance(content, dict) else None
    return model.get("sha256") if isinstance(model, dict) else None
