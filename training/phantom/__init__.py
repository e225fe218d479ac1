"""A plausible sagittal T2 lumbar spine with discs of chosen Pfirrmann grade: for training, demo, tests and load."""

from training.phantom.dicom import PATIENT_ID, PATIENT_NAME, write_dicom, write_zip
from training.phantom.nifti import write_nifti
from training.phantom.nonspine import make_non_spine
from training.phantom.phantom import Phantom, make_phantom
from training.phantom.spec import LEVELS, PhantomSpec, random_spec

__all__ = [
    "LEVELS",
    "PATIENT_ID",
    "PATIENT_NAME",
    "Phantom",
    "PhantomSpec",
    "make_non_spine",
    "make_phantom",
    "random_spec",
    "write_dicom",
    "write_nifti",
    "write_zip",
]
