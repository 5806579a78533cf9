# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""What the tests of the MONAI Deploy application share: a small bundle, its model, a folder as hospitals send it."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("highdicom", reason="needs the extra 'dicom'")
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "integration"))

from small_bundle import copy_bundle, random_network  # noqa: E402

from pe_monai.data import phantom_clip, phantom_frame  # noqa: E402
from pe_monai.deploy.source import export_model  # noqa: E402
from pe_monai.dicom.identity import save_object  # noqa: E402
from pe_monai.dicom.phantom import phantom_object, write_phantom_object  # noqa: E402
from pe_monai.weights import save_weights  # noqa: E402

SIZE = (224, 320)
PATIENT = "Doe_Jane_1950"


def pytest_collection_modifyitems(items):
    if find_spec("holoscan") is None:
        skip = pytest.mark.skip(reason="needs the extra 'deploy' in an environment of its own: constraints-deploy.txt")
        for item in items:
            if "holoscan" in item.keywords:
                item.add_marker(skip)


@pytest.fixture(scope="session")
def small_bundle(tmp_path_factory) -> Path:
    """A whole bundle with a small random network that marks about a quarter of a phantom; read only."""
    bundle = copy_bundle(tmp_path_factory.mktemp("small") / "bundle")
    (bundle / "models").mkdir(exist_ok=True)
    save_weights(random_network(bundle), bundle / "models" / "model.pt")
    return bundle


@pytest.fixture(scope="session")
def models(small_bundle, tmp_path_factory) -> Path:
    """The bundle's model as packages have it: ``pe/model.ts``; read only."""
    folder = tmp_path_factory.mktemp("models")
    export_model(small_bundle, folder / "pe" / "model.ts")
    return folder


@pytest.fixture(scope="session")
def study(tmp_path_factory) -> Path:
    """Two series of ultrasound of one patient, another study, a CT, damaged and blank objects, a copy, no DICOM."""
    import pydicom
    from pydicom.uid import generate_uid

    folder = tmp_path_factory.mktemp("input") / PATIENT
    write_phantom_object(folder / f"{PATIENT}_clip.dcm", phantom_clip(6, 5, SIZE, "black", 18.0, 16.0))
    frame = write_phantom_object(folder / "series 2" / "frame.dcm", [phantom_frame(3, SIZE, thickness_mm=12.0)])
    dataset = pydicom.dcmread(frame)
    dataset.SeriesInstanceUID, dataset.SeriesNumber = generate_uid(entropy_srcs=["series 2"]), 2
    dataset.save_as(frame)
    (folder / "series 2" / "same.dcm").write_bytes(frame.read_bytes())
    write_phantom_object(folder / "other.dcm", phantom_clip(9, 2, SIZE, "black", 8.0, 16.0), study=2)
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = pydicom.uid.CTImageStorage
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=["ct"])
    dataset.Modality = "CT"
    dataset.save_as(folder / "ct.dcm")
    (folder / "damaged.dcm").write_bytes((folder / "other.dcm").read_bytes()[:900])
    blank = phantom_object(np.zeros((2, *SIZE, 3), np.uint8), None, "RGB", ["blank"], 2)  # without a sector
    save_object(blank, folder / "blank.dcm")
    (folder / "notes.txt").write_text(f"of {PATIENT}")
    return folder
