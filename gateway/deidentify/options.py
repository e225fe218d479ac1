"""The options of the profile that are offered (PS3.15, section E.3), and the attributes that each of them speaks of.

The columns of options in Table E.1-1 are these: of Retain UIDs all attributes with the action U and the sequences
listed; of the two about dates all of the table that are dates and times, but those of birth and of the GPS; of the rest
those listed.
"""

from __future__ import annotations

from enum import StrEnum

from pydicom.datadict import tag_for_keyword

__all__ = ["DESCRIPTORS", "NO_EVENTS", "RETAINED", "Option"]


class Option(StrEnum):
    """An option; its code in CID 7050 (PS3.16) is in :attr:`code`."""

    CLEAN_DESCRIPTORS = "clean-descriptors"
    RETAIN_DATES = "retain-dates"
    SHIFT_DATES = "shift-dates"
    RETAIN_PATIENT_CHARACTERISTICS = "retain-patient-characteristics"
    RETAIN_DEVICE = "retain-device"
    RETAIN_UIDS = "retain-uids"
    RETAIN_INSTITUTION = "retain-institution"

    @property
    def code(self) -> tuple[str, str]:
        """Code value and meaning, of the scheme DCM."""
        return _CODES[self]


_CODES = {
    Option.CLEAN_DESCRIPTORS: ("113105", "Clean Descriptors Option"),
    Option.RETAIN_DATES: ("113106", "Retain Longitudinal Temporal Information Full Dates Option"),
    Option.SHIFT_DATES: ("113107", "Retain Longitudinal Temporal Information Modified Dates Option"),
    Option.RETAIN_PATIENT_CHARACTERISTICS: ("113108", "Retain Patient Characteristics Option"),
    Option.RETAIN_DEVICE: ("113109", "Retain Device Identity Option"),
    Option.RETAIN_UIDS: ("113110", "Retain UIDs Option"),
    Option.RETAIN_INSTITUTION: ("113112", "Retain Institution Identity Option"),
}


def _tags(keywords: str) -> frozenset[int]:
    return frozenset(tag for word in keywords.split() if (tag := tag_for_keyword(word)) is not None)


DESCRIPTORS = _tags("SeriesDescription StudyDescription ProtocolName AcquisitionProtocolDescription")
"""Cleaned with Clean Descriptors, since the choice of the series reads them; all other descriptors go either way."""

NO_EVENTS = _tags("PatientBirthDate PatientBirthTime GPSTimeStamp")
"""Dates and times that the options about dates do not retain."""

RETAINED = {
    Option.RETAIN_DATES: _tags("TimezoneOffsetFromUTC"),
    Option.SHIFT_DATES: _tags("TimezoneOffsetFromUTC"),
    Option.RETAIN_UIDS: _tags(
        "ReferencedImageSequence ReferencedPerformedProcedureStepSequence ReferencedStudySequence SourceImageSequence"
    ),
    Option.RETAIN_PATIENT_CHARACTERISTICS: _tags(
        "EthnicGroup PatientAge PatientSex PatientSexNeutered PatientSize PatientWeight PregnancyStatus SmokingStatus"
    ),
    Option.RETAIN_DEVICE: _tags(
        "CassetteID DetectorID DeviceDescription DeviceLabel DeviceSerialNumber DeviceUID GantryID GeneratorID "
        "LensMake LensModel LensSerialNumber LensSpecification ManufacturerDeviceClassUID "
        "ManufacturerDeviceIdentifier PerformedStationAETitle PerformedStationGeographicLocationCodeSequence "
        "PerformedStationName PerformedStationNameCodeSequence PlateID ScheduledProcedureStepLocation "
        "ScheduledStationAETitle ScheduledStationGeographicLocationCodeSequence ScheduledStationName "
        "ScheduledStationNameCodeSequence ScheduledStudyLocation ScheduledStudyLocationAETitle SourceManufacturer "
        "SourceSerialNumber StationName TreatmentMachineName UDISequence UniqueDeviceIdentifier"
    ),
    Option.RETAIN_INSTITUTION: _tags(
        "ClinicalTrialCoordinatingCenterName ClinicalTrialProtocolEthicsCommitteeName ClinicalTrialSiteID "
        "ClinicalTrialSiteName InstitutionAddress InstitutionalDepartmentName InstitutionalDepartmentTypeCodeSequence "
        "InstitutionCodeSequence InstitutionName"
    ),
}
"""What an option keeps as it is (K in its column). Free text that it would clean (C) is removed."""
