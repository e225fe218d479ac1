"""What an Enhanced MR Image object has besides a classic one (PS3.3 A.36, C.8.13)."""

from __future__ import annotations

from typing import Any

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.tag import Tag

__all__ = ["fill_enhanced", "item"]

_FRAME_TYPE = ["ORIGINAL", "PRIMARY", "T2", "NONE"]
_ACQUIRED = "20200101120000"
_ACQUISITION_MS = 180_000.0


def item(**values: Any) -> Dataset:
    """A sequence item with these attributes."""
    out = Dataset()
    for keyword, value in values.items():
        setattr(out, keyword, value)
    return out


def _code(value: str, scheme: str, meaning: str) -> Sequence:
    return Sequence([item(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=meaning)])


# MR image description macro, in the object and in every frame.
_DESCRIPTION = {
    "PixelPresentation": "MONOCHROME",
    "VolumetricProperties": "VOLUME",
    "VolumeBasedCalculationTechnique": "NONE",
    "ComplexImageComponent": "MAGNITUDE",
    "AcquisitionContrast": "T2",
}

_OBJECT = {
    "ImageType": _FRAME_TYPE,
    **_DESCRIPTION,
    "AcquisitionDateTime": _ACQUIRED,
    "AcquisitionDuration": _ACQUISITION_MS / 1000,
    "ContentQualification": "RESEARCH",
    "ResonantNucleus": "1H",
    "KSpaceFiltering": "COSINE",
    "ApplicableSafetyStandardAgency": "IEC",
    "PulseSequenceName": "tse2d",
    "MRAcquisitionType": "2D",
    "EchoPulseSequence": "SPIN",
    "MultipleSpinEcho": "YES",
    "MultiPlanarExcitation": "NO",
    "PhaseContrast": "NO",
    "TimeOfFlightContrast": "NO",
    "SteadyStatePulseSequence": "NONE",
    "EchoPlanarPulseSequence": "NO",
    "SaturationRecovery": "NO",
    "SpectrallySelectedSuppression": "NONE",
    "OversamplingPhase": "NONE",
    "GeometryOfKSpaceTraversal": "RECTILINEAR",
    "SegmentedKSpaceTraversal": "SINGLE",
    "RectilinearPhaseEncodeReordering": "LINEAR",
    "NumberOfKSpaceTrajectories": 1,
    "BurnedInAnnotation": "NO",
    "LossyImageCompression": "00",
    "PresentationLUTShape": "IDENTITY",
}


def _shared_groups(timing: dict[str, Any], echo_ms: float) -> Dataset:
    groups: dict[str, Dataset] = {
        "MRTimingAndRelatedParametersSequence": item(
            **timing,
            RFEchoTrainLength=timing["EchoTrainLength"],
            GradientEchoTrainLength=0,
            SpecificAbsorptionRateSequence=Sequence(
                [item(SpecificAbsorptionRateDefinition="IEC_WHOLE_BODY", SpecificAbsorptionRateValue=1.0)]
            ),
            GradientOutputType="DB_DT",
            GradientOutput=0.0,
            OperatingModeSequence=Sequence(
                [
                    item(OperatingModeType=kind, OperatingMode="IEC_NORMAL")
                    for kind in ("STATIC FIELD", "RF", "GRADIENT")
                ]
            ),
        ),
        "MREchoSequence": item(EffectiveEchoTime=echo_ms),
        "MRModifierSequence": item(
            InversionRecovery="NO",
            FlowCompensation="NONE",
            Spoiling="NONE",
            T2Preparation="NO",
            SpectrallySelectedExcitation="NONE",
            SpatialPresaturation="NONE",
            PartialFourier="NO",
            ParallelAcquisition="NO",
        ),
        "MRImagingModifierSequence": item(
            MagnetizationTransfer="NONE",
            BloodSignalNulling="NO",
            Tagging="NONE",
            TransmitterFrequency=63.6,
            PixelBandwidth=200.0,
        ),
        "MRReceiveCoilSequence": item(
            ReceiveCoilName="spine",
            ReceiveCoilManufacturerName="",
            ReceiveCoilType="SURFACE",
            QuadratureReceiveCoil="YES",
        ),
        "MRTransmitCoilSequence": item(
            TransmitCoilName="body", TransmitCoilManufacturerName="", TransmitCoilType="BODY"
        ),
        "MRAveragesSequence": item(NumberOfAverages=1.0),
        "MRFOVGeometrySequence": item(
            InPlanePhaseEncodingDirection="ROW",
            MRAcquisitionFrequencyEncodingSteps=384,
            MRAcquisitionPhaseEncodingStepsInPlane=384,
            PercentSampling=100.0,
            PercentPhaseFieldOfView=100.0,
        ),
        "FrameAnatomySequence": item(
            FrameLaterality="U", AnatomicRegionSequence=_code("122496007", "SCT", "Lumbar spine")
        ),
        "PixelValueTransformationSequence": item(RescaleIntercept=0, RescaleSlope=1, RescaleType="US"),
        "MRImageFrameTypeSequence": item(FrameType=_FRAME_TYPE, **_DESCRIPTION),
    }
    return item(**{keyword: Sequence([group]) for keyword, group in groups.items()})


def fill_enhanced(
    ds: Dataset, timing: dict[str, Any], echo_ms: float, organisation: str, positions: list[list[float]]
) -> None:
    """Add the enhanced modules, dimensions and functional groups to `ds`; geometry but the positions is the caller's.

    Args:
        ds: Object with its common modules.
        timing: Repetition time (ms), flip angle (degrees), echo train length, by keyword.
        echo_ms: Effective echo time.
        organisation: UID of the dimension organisation.
        positions: Image Position (Patient) of each frame, mm.
    """
    for keyword, value in _OBJECT.items():
        setattr(ds, keyword, value)
    ds.AcquisitionContextSequence = Sequence([])
    ds.DimensionOrganizationSequence = Sequence([item(DimensionOrganizationUID=organisation)])
    ds.DimensionIndexSequence = Sequence(
        [
            item(
                DimensionOrganizationUID=organisation,
                DimensionIndexPointer=Tag(pointer),
                FunctionalGroupPointer=Tag("FrameContentSequence"),
            )
            for pointer in ("StackID", "InStackPositionNumber")
        ]
    )
    ds.SharedFunctionalGroupsSequence = Sequence([_shared_groups(timing, echo_ms)])
    ds.PerFrameFunctionalGroupsSequence = Sequence(
        [
            item(
                FrameContentSequence=Sequence(
                    [
                        item(
                            StackID="1",
                            InStackPositionNumber=k,
                            DimensionIndexValues=[1, k],
                            FrameAcquisitionNumber=1,
                            FrameAcquisitionDateTime=_ACQUIRED,
                            FrameReferenceDateTime=_ACQUIRED,
                            FrameAcquisitionDuration=_ACQUISITION_MS,
                        )
                    ]
                ),
                PlanePositionSequence=Sequence([item(ImagePositionPatient=position)]),
            )
            for k, position in enumerate(positions, start=1)
        ]
    )
