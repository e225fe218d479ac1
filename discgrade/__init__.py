"""discgrade: lumbar disc segmentation, naming and grading as a service. For research use only."""

from discgrade.errors import DiscgradeError, InputError, ServiceError
from discgrade.result import Disc, GradingResult, Pfirrmann, Severity

__all__ = ["Disc", "DiscgradeError", "GradingResult", "InputError", "Pfirrmann", "ServiceError", "Severity"]
__version__ = "0.1.0"
