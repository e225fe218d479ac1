"""What can go wrong on the way from a checkpoint to an engine in service.

::

    DiscgradeError
    └── ExportError
        ├── BadCheckpoint       not there, or not of these networks
        ├── BadNetwork          ONNX that does not check, or that the engine cannot take; names the nodes
        ├── MissingTool         a package of the engine is not installed
        ├── NoGPU               the engine needs one, and there is none
        ├── TooLittleMemory     the GPU's memory does not hold the engine's build
        ├── VersionMismatch     made for another GPU, another TensorRT, or another network
        ├── ParityLost          the engine does not compute what the network computes
        ├── RepositoryProblem   no model repository, or one that was not written by discgrade
        ├── ReleaseExists       a version folder is there already
        └── ReleaseProblem      no such release, none to roll back to, or tritonserver cannot load it

All of them concern those who run discgrade, none a request: they have no HTTP status of their own.
"""

from __future__ import annotations

from discgrade.errors import DiscgradeError

__all__ = [
    "BadCheckpoint",
    "BadNetwork",
    "ExportError",
    "MissingTool",
    "NoGPU",
    "ParityLost",
    "ReleaseExists",
    "ReleaseProblem",
    "RepositoryProblem",
    "TooLittleMemory",
    "VersionMismatch",
]


class ExportError(DiscgradeError):
    """Root of this module's errors."""

    slug = "export-failed"
    title = "The export failed"
    default_advice = "See docs/export.md."


class BadCheckpoint(ExportError):
    """A checkpoint is not there, or not of these networks."""

    title = "The checkpoint cannot be read"
    default_advice = "Give the folder of a training run, such as training/weights."


class BadNetwork(ExportError):
    """ONNX that does not check, or that the engine cannot take."""

    title = "The network cannot be exported to this engine"
    default_advice = "Change the network, or choose another engine or precision."


class MissingTool(ExportError):
    """A package that the engine needs is not installed."""

    title = "A package is missing"


class NoGPU(ExportError):
    """The engine needs a GPU, and there is none."""

    title = "There is no NVIDIA GPU"
    default_advice = "Build this engine on the GPU that will serve it; --engine onnx and tensorrt-rtx need none."


class TooLittleMemory(ExportError):
    """The GPU's memory does not hold the engine's build."""

    title = "Too little GPU memory"
    default_advice = "Stop what else uses the GPU, or lower the largest shapes in export/models.py."


class VersionMismatch(ExportError):
    """Made for another GPU, another TensorRT, or another network."""

    title = "The versions do not fit"


class ParityLost(ExportError):
    """The engine does not compute what the trained network computes."""

    title = "The engine differs too much from the network"
    default_advice = "See the parity report; choose a higher precision, or calibrate on more slices."


class RepositoryProblem(ExportError):
    """There is no model repository, or one that was not written by discgrade."""

    title = "The model repository cannot be used"
    default_advice = "Start from a copy of the installed one: discgrade models new FOLDER."


class ReleaseExists(ExportError):
    """A version folder is there already; versions are never overwritten."""

    title = "This version exists"
    default_advice = "Export again: the next free version is taken."


class ReleaseProblem(ExportError):
    """No such release, none to roll back to, or tritonserver cannot load it."""

    title = "The release cannot be changed"
    default_advice = "List the releases: discgrade models list."
