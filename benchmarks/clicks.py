# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""How many clicks a frame of the validation fold takes: python -m benchmarks.clicks --data DATA [--every 3]."""

from __future__ import annotations

import argparse
import json

import numpy as np
import torch
from PIL import Image

from pe_monai.cli.arguments import positive
from pe_monai.data import load_datalist
from pe_monai.evaluation.scores import MIN_PIXELS
from pe_monai.interactive import InteractivePredictor
from pe_monai.interactive.evaluation import Session, correct, summarise
from pe_monai.predictor import Predictor
from pe_monai.runtimes.accuracy import read_labels


def main() -> None:
    """Print the curves of frames by the size of their effusion, as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True, help="data set's folder")
    parser.add_argument("--weights", help="weights of the interactive network (default: those that ship)")
    parser.add_argument("--every", type=positive, default=1, help="judge by every Nth frame (default: 1)")
    parser.add_argument("--first", type=int, default=0, help="number of the first frame, from 0 (default: 0)")
    parser.add_argument("--clicks", type=int, default=10, help="clicks for each frame (default: 10)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    automatic, interactive = Predictor(), InteractivePredictor(weights=options.weights)
    large, small, empty = f"effusion of at least {MIN_PIXELS} px", f"effusion below {MIN_PIXELS} px", "no effusion"
    sessions: dict[str, list[Session]] = {large: [], small: [], empty: []}
    items = load_datalist("clip", "validation", options.data)[options.first :: options.every]
    for path, truth in read_labels(items, min_pixels=0).items():
        frame = np.asarray(Image.open(path).convert("RGB"))
        start = automatic.predict([frame])[0].mask
        session = correct(interactive, frame, truth, start, options.clicks)
        size = int(truth.sum())
        sessions[large if size >= MIN_PIXELS else small if size else empty].append(session)
    sessions["any effusion"] = sessions[large] + sessions[small]
    for name, found in sessions.items():
        if found:
            print(name, json.dumps(summarise(found, options.clicks)))


if __name__ == "__main__":
    main()
