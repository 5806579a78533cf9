# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The codes that the results are written in: SNOMED CT, LOINC, DICOM and UCUM."""

from __future__ import annotations

from pydicom.sr.coding import Code

EFFUSION = Code("373945007", "SCT", "Pericardial effusion")
PERICARDIAL_CAVITY = Code("25489000", "SCT", "Pericardial cavity")
MORPHOLOGIC_ABNORMALITY = Code("49755003", "SCT", "Morphologically Abnormal Structure")
ECHOCARDIOGRAPHY = Code("40701008", "SCT", "Echocardiography")
THICKNESS = Code("59089-3", "LN", "ROI Thickness by US")
AREA = Code("42798000", "SCT", "Area")
MAXIMUM = Code("56851009", "SCT", "Maximum")
MEAN = Code("373098007", "SCT", "Mean")
PERCENTILE_95 = Code("371889001", "SCT", "Ninety-fifth percentile")
PRESENCE = Code("121052", "DCM", "Presence of property")
PRESENT = Code("121053", "DCM", "Present")
ABSENT = Code("121054", "DCM", "Absent")
COMMENT = Code("121106", "DCM", "Comment")
MILLIMETRE = Code("mm", "UCUM", "millimeter")
SQUARE_CENTIMETRE = Code("cm2", "UCUM", "square centimeter")
PIXELS = Code("{pixels}", "UCUM", "pixels")
