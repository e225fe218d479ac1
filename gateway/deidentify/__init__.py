"""De-identification at the door, before anything is kept: PS3.15 Annex E, Basic Application Confidentiality Profile."""

from gateway.deidentify.options import Option
from gateway.deidentify.study import Deidentifier

__all__ = ["Deidentifier", "Option"]
