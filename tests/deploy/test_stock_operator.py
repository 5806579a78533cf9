# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The stock route: the bundle's model.ts in MONAI Deploy's own bundle operator, on an ultrasound frame."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from container import can_mount, without_cuda
from small_bundle import python_environment

from pe_monai.dicom.reader import open_ultrasound
from pe_monai.predictor import Predictor

pytestmark = pytest.mark.holoscan

APPLICATION = """
import sys

import numpy as np

import pe_monai.dicom.reader  # before holoscan: it loads the CUDA runtime
from holoscan.conditions import CountCondition
from monai.deploy.core import AppContext, Application, Image, IOType, Operator
from monai.deploy.operators.monai_bundle_inference_operator import IOMapping, MonaiBundleInferenceOperator

source, models, output = sys.argv[1:]


class Frame(Operator):
    def setup(self, spec):
        spec.output("image")

    def compute(self, op_input, op_output, context):
        (clip,) = pe_monai.dicom.reader.open_ultrasound(source)
        frame = np.ascontiguousarray(next(clip.frames()).swapaxes(0, 1))  # x first, as the bundle's files are
        op_output.emit(Image(frame, {}) if KIND == "image" else frame, "image")


class Save(Operator):
    def setup(self, spec):
        spec.input("pred")

    def compute(self, op_input, op_output, context):
        np.save(f"{output}/{KIND}.npy", op_input.receive("pred").asnumpy())


class Stock(Application):
    def compose(self):
        ports = [[IOMapping(name, Image, IOType.IN_MEMORY)] for name in ("image", "pred")]
        context = AppContext({"model": models})
        infer = MonaiBundleInferenceOperator(
            self, input_mapping=ports[0], output_mapping=ports[1], app_context=context, name="infer"
        )
        frame = Frame(self, CountCondition(self, 1), name="frame")
        self.add_flow(frame, infer, {("image", "image")})
        self.add_flow(infer, Save(self, name="save"), {("pred", "pred")})


for KIND in ("image", "array"):
    Stock([]).run()
"""


def test_stock_operator_gives_the_predictor_s_mask(models, small_bundle, study, tmp_path):
    script = tmp_path / "stock.py"
    script.write_text(APPLICATION)
    source = next(study.glob("*_clip.dcm"))
    command = [sys.executable, "-W", "ignore", str(script), str(source), str(models), str(tmp_path)]
    command = without_cuda(command) if can_mount() else command
    environment = python_environment()
    environment.pop("LD_LIBRARY_PATH", None)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    (clip,) = open_ultrasound(source)
    expected = Predictor(small_bundle, device="cpu").predict([next(clip.frames())])[0].mask
    assert expected.any()
    for kind in ("image", "array"):
        np.testing.assert_array_equal(np.load(tmp_path / f"{kind}.npy").T > 0, expected, err_msg=kind)
