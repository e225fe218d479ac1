"""A plausible sagittal T2 lumbar spine with discs of chosen Pfirrmann grade: for training, demo, tests and load."""

from training.phantom.phantom import Phantom, make_phantom
from training.phantom.spec import LEVELS, PhantomSpec, random_spec

__all__ = ["LEVELS", "Phantom", "PhantomSpec", "make_phantom", "random_spec"]
