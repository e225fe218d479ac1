"""Every error discgrade raises on purpose, and what each means to HTTP and gRPC.

::

    DiscgradeError
    ├── InputError                      the sender must change something (4xx)
    │   ├── EmptyUpload                 400  nothing was sent
    │   ├── UploadTimeout               408  the client stopped sending
    │   ├── UploadTooLarge              413  more bytes, files or slices than allowed
    │   ├── UnsafeArchive               400  zip with traversal, nesting or a bomb
    │   ├── UnsupportedFormat           415  neither DICOM nor NIfTI nor zip of DICOM
    │   ├── UnsupportedTransferSyntax   415  DICOM pixels in an encoding not read here
    │   ├── UnreadableFile              422  truncated or damaged
    │   ├── NoPixelData                 422  DICOM without an image
    │   ├── WrongModality               422  not MR
    │   ├── NoSagittalSeries            422  axial or coronal only
    │   ├── NoT2Series                  422  no T2-weighted series among the sagittal ones
    │   ├── MixedStudy                  422  several patients or frames of reference
    │   ├── MissingGeometry             422  no orientation, position or spacing
    │   ├── InconsistentSlices          422  sizes or orientations differ within a series
    │   ├── DuplicatePositions          422  two slices at one place
    │   ├── SliceGap                    422  slices missing or unevenly spaced
    │   ├── UnsupportedDimensions       422  not a 3-D (or single-slice) grey image
    │   ├── InvalidPixelValues          422  NaN, infinite or constant pixels
    │   ├── ImplausibleSpacing          422  voxel size outside what MR scanners make
    │   ├── NoDiscsFound                422  no lumbar spine seen in the image
    │   ├── IdentityInPixels            422  text burnt into the image, and de-identification refuses it
    │   ├── StudyNotFound               422  no such study or series at the DICOMweb server
    │   ├── InvalidRequest              400  malformed request
    │   ├── Unauthenticated             401  no credentials, or none that are known here
    │   ├── Forbidden                   403  credentials that do not allow this
    │   ├── NotFound                    404  no such result or job
    │   ├── Conflict                    409  contradicts what was sent before
    │   └── RateLimited                 429  this caller sends more than its share
    └── ServiceError                    discgrade must change something (5xx)
        ├── Overloaded                  503  more work than can be taken now, or shutting down
        ├── StorageUnavailable          503  the database or store of what is kept does not answer
        ├── IssuerUnavailable           503  the issuer of access tokens does not answer
        ├── PacsUnavailable             503  the DICOMweb server cannot be reached, or is overloaded
        ├── PacsTimeout                 504  the DICOMweb server did not answer in time
        ├── PacsRefused                 502  the DICOMweb server does not accept discgrade's credentials
        ├── PacsFailed                  502  the DICOMweb server answered with an error, or with what cannot be used
        ├── InferenceUnavailable        503  tritonserver not ready
        ├── InferenceTimeout            504  tritonserver did not answer in time
        └── InferenceFailed             500  tritonserver answered with an error, or ended for good

Messages never carry patient data: no file names, attribute values or UIDs of the upload.
The form of the HTTP body is RFC 9457 (``application/problem+json``).
"""

from __future__ import annotations

from typing import Any, ClassVar

__all__ = [
    "Conflict",
    "DiscgradeError",
    "DuplicatePositions",
    "EmptyUpload",
    "Forbidden",
    "IdentityInPixels",
    "ImplausibleSpacing",
    "InconsistentSlices",
    "InferenceFailed",
    "InferenceTimeout",
    "InferenceUnavailable",
    "InputError",
    "InvalidPixelValues",
    "InvalidRequest",
    "IssuerUnavailable",
    "MissingGeometry",
    "MixedStudy",
    "NoDiscsFound",
    "NoPixelData",
    "NoSagittalSeries",
    "NoT2Series",
    "NotFound",
    "Overloaded",
    "PacsFailed",
    "PacsRefused",
    "PacsTimeout",
    "PacsUnavailable",
    "RateLimited",
    "ServiceError",
    "SliceGap",
    "StorageUnavailable",
    "StudyNotFound",
    "Unauthenticated",
    "UnreadableFile",
    "UnsafeArchive",
    "UnsupportedDimensions",
    "UnsupportedFormat",
    "UnsupportedTransferSyntax",
    "UploadTimeout",
    "UploadTooLarge",
    "WrongModality",
]


class DiscgradeError(Exception):
    """Root of the tree.

    Args:
        detail: What is wrong with this request, in a sentence, free of patient data.
        advice: What the reader can change to make it work, in a sentence; the class's own when omitted.
        retry_after_seconds: When the same request may succeed; the class's own when omitted.

    Attributes:
        status: HTTP status code.
        grpc_code: Name of the gRPC status code.
        slug: Last part of the problem type URI.
        title: Short human summary, the same for every occurrence.
        retry_after_seconds: When the same request may succeed; None where it never will, or nobody knows.
    """

    status: ClassVar[int] = 500
    grpc_code: ClassVar[str] = "INTERNAL"
    slug: ClassVar[str] = "internal-error"
    title: ClassVar[str] = "Internal error"
    default_advice: ClassVar[str] = "Try again; if it persists, report the request id to the operator."

    default_retry_after_seconds: ClassVar[float | None] = None

    def __init__(self, detail: str, advice: str | None = None, retry_after_seconds: float | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.advice = advice or self.default_advice
        self.retry_after_seconds = (
            self.default_retry_after_seconds if retry_after_seconds is None else retry_after_seconds
        )

    @classmethod
    def problem_type(cls) -> str:
        """URI that identifies this kind of problem (RFC 9457, section 3.1.1)."""
        return f"urn:discgrade:problem:{cls.slug}"

    @staticmethod
    def of_problem_type(problem_type: str) -> type[DiscgradeError] | None:
        """The class that a problem type URI identifies; None where it is not one of ours."""
        kinds: list[type[DiscgradeError]] = [DiscgradeError]
        for kind in kinds:
            kinds += kind.__subclasses__()
        # From the leaves up: ServiceError shares the type of the root.
        return next((kind for kind in reversed(kinds) if kind.problem_type() == problem_type), None)

    def problem(self) -> dict[str, Any]:
        """The RFC 9457 problem document for this error, ready for JSON."""
        return {
            "type": self.problem_type(),
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "advice": self.advice,
        }


class InputError(DiscgradeError):
    """The sender must change something."""

    status = 400
    grpc_code = "INVALID_ARGUMENT"
    slug = "invalid-input"
    title = "The input cannot be graded"
    default_advice = "Send one lumbar sagittal T2-weighted MR series as DICOM files, a zip of them, or one NIfTI file."


class EmptyUpload(InputError):
    """Nothing was sent, or only empty files."""

    slug = "empty-upload"
    title = "The upload is empty"
    default_advice = "Attach the DICOM files, a zip of them, or one NIfTI file as multipart form fields named 'files'."


class UploadTimeout(InputError):
    """The client stopped sending before the upload was complete."""

    status = 408
    grpc_code = "DEADLINE_EXCEEDED"
    slug = "upload-timeout"
    title = "The upload did not arrive in time"
    default_advice = "Send the upload again over a faster or steadier connection."


class UploadTooLarge(InputError):
    """More bytes, files or slices than this server accepts."""

    status = 413
    grpc_code = "RESOURCE_EXHAUSTED"
    slug = "upload-too-large"
    title = "The upload is too large"
    default_advice = "Send only the sagittal T2 series of one study."


class UnsafeArchive(InputError):
    """A zip with path traversal, a zip within, encryption, or a compression bomb."""

    slug = "unsafe-archive"
    title = "The zip archive is not accepted"
    default_advice = (
        "Send a plain zip of the DICOM files: no nested archives, no encryption, no absolute or '..' paths."
    )


class UnsupportedFormat(InputError):
    """Neither DICOM nor NIfTI nor a zip of DICOM files."""

    status = 415
    slug = "unsupported-format"
    title = "The file format is not supported"
    default_advice = "Send DICOM files, a zip of DICOM files, or one NIfTI file (.nii or .nii.gz)."


class UnsupportedTransferSyntax(InputError):
    """DICOM pixels in an encoding that is not read here."""

    status = 415
    slug = "unsupported-transfer-syntax"
    title = "The DICOM transfer syntax is not supported"
    default_advice = "Have the sender transcode to Explicit VR Little Endian (1.2.840.10008.1.2.1)."


class UnreadableFile(InputError):
    """A truncated or damaged file."""

    status = 422
    slug = "unreadable-file"
    title = "A file is truncated or damaged"
    default_advice = "Export the series again and send complete files."


class NoPixelData(InputError):
    """DICOM objects without an image."""

    status = 422
    slug = "no-pixel-data"
    title = "No DICOM object holds pixel data"
    default_advice = "Send the image objects of the series, not reports, presentation states or a DICOMDIR alone."


class WrongModality(InputError):
    """Not an MR image."""

    status = 422
    slug = "wrong-modality"
    title = "The images are not MR"
    default_advice = "Send a T2-weighted sagittal MR series of the lumbar spine."


class NoSagittalSeries(InputError):
    """Only axial, coronal or strongly oblique series."""

    status = 422
    slug = "no-sagittal-series"
    title = "No sagittal series was found"
    default_advice = "Send the sagittal T2 series; axial and coronal series cannot be graded."


class NoT2Series(InputError):
    """No T2-weighted series among the sagittal ones."""

    status = 422
    slug = "no-t2-series"
    title = "No sagittal T2-weighted series was found"
    default_advice = "Send the sagittal T2 series (long TE and TR, without fat suppression if there is one)."


class MixedStudy(InputError):
    """Several patients, or several frames of reference within one series."""

    status = 422
    slug = "mixed-study"
    title = "The upload mixes patients or frames of reference"
    default_advice = "Send one study of one patient at a time."


class MissingGeometry(InputError):
    """No image orientation, position or pixel spacing."""

    status = 422
    slug = "missing-geometry"
    title = "The images lack geometry"
    default_advice = (
        "Send the original objects with Image Orientation (Patient), Image Position (Patient) and Pixel Spacing."
    )


class InconsistentSlices(InputError):
    """Sizes, spacings or orientations differ within the series."""

    status = 422
    slug = "inconsistent-slices"
    title = "The slices of the series do not fit together"
    default_advice = "Send one series whose slices share matrix size, pixel spacing and orientation."


class DuplicatePositions(InputError):
    """Two slices at one place."""

    status = 422
    slug = "duplicate-positions"
    title = "Two slices of the series lie at the same position"
    default_advice = "Send each slice once; split dynamic or multi-echo series first."


class SliceGap(InputError):
    """Slices missing or unevenly spaced."""

    status = 422
    slug = "slice-gap"
    title = "Slices are missing from the series"
    default_advice = "Send every slice of the series."


class UnsupportedDimensions(InputError):
    """Not a three-dimensional grey image."""

    status = 422
    slug = "unsupported-dimensions"
    title = "The image does not have three dimensions"
    default_advice = "Send one 3-D grey-scale volume: no time series, no colour."


class InvalidPixelValues(InputError):
    """NaN, infinite or constant pixels."""

    status = 422
    slug = "invalid-pixel-values"
    title = "The pixel values cannot be graded"
    default_advice = "Export the series again; every pixel must be a finite number and the image must not be blank."


class ImplausibleSpacing(InputError):
    """A voxel size that no lumbar MR has."""

    status = 422
    slug = "implausible-spacing"
    title = "The voxel size is implausible"
    default_advice = "Check the units: spacings are millimetres."


class NoDiscsFound(InputError):
    """No lumbar spine is seen in the image."""

    status = 422
    slug = "no-discs-found"
    title = "No intervertebral discs were found"
    default_advice = "Check that the series shows the lumbar spine in sagittal T2."


class IdentityInPixels(InputError):
    """The image says that text is burnt into it, and this server de-identifies what it takes."""

    status = 422
    slug = "identity-in-pixels"
    title = "The image holds text that de-identification cannot remove"
    default_advice = "Send the original series, without annotations in its pixels."


class StudyNotFound(InputError):
    """The DICOMweb server has no such study or series."""

    status = 422
    grpc_code = "NOT_FOUND"
    slug = "study-not-found"
    title = "The study was not found at the DICOMweb server"
    default_advice = "Check the UIDs and the server's name, and that the study has arrived there."


class InvalidRequest(InputError):
    """A malformed request."""

    slug = "invalid-request"
    title = "The request is malformed"
    default_advice = "See the API description at /docs."


class Unauthenticated(InputError):
    """No credentials, or none that are known here."""

    status = 401
    grpc_code = "UNAUTHENTICATED"
    slug = "unauthenticated"
    title = "Credentials are needed"
    default_advice = "Send 'Authorization: Bearer KEY' with an API key or an access token that is valid now."


class Forbidden(InputError):
    """Credentials that are known but do not allow this."""

    status = 403
    grpc_code = "PERMISSION_DENIED"
    slug = "forbidden"
    title = "These credentials do not allow this"
    default_advice = "Ask the operator for a key with the scope that is needed."


class NotFound(InputError):
    """No such result or job."""

    status = 404
    grpc_code = "NOT_FOUND"
    slug = "not-found"
    title = "Not found"
    default_advice = "Check the result id; results are kept only for a limited time."


class Conflict(InputError):
    """The request contradicts what was sent before."""

    status = 409
    grpc_code = "FAILED_PRECONDITION"
    slug = "conflict"
    title = "The request contradicts an earlier one"
    default_advice = "Use a new idempotency key for a new study, and cancel only jobs that have not ended."


class RateLimited(InputError):
    """This caller sends more than its share."""

    status = 429
    grpc_code = "RESOURCE_EXHAUSTED"
    slug = "rate-limited"
    title = "Too many requests"
    default_advice = "Wait as long as Retry-After says, and send fewer requests at a time."
    default_retry_after_seconds = 1.0


class ServiceError(DiscgradeError):
    """discgrade, not the sender, must change something."""


class Overloaded(ServiceError):
    """More work is waiting than can be taken now, or the server is shutting down."""

    status = 503
    grpc_code = "UNAVAILABLE"
    slug = "overloaded"
    title = "The server takes no more work now"
    default_advice = "Send the request again after as long as Retry-After says."
    default_retry_after_seconds = 2.0


class IssuerUnavailable(ServiceError):
    """The issuer of access tokens does not answer, so they cannot be verified."""

    status = 503
    grpc_code = "UNAVAILABLE"
    slug = "issuer-unavailable"
    title = "Access tokens cannot be verified now"
    default_advice = "Wait a few seconds and send the request again, or use an API key."
    default_retry_after_seconds = 5.0


class StorageUnavailable(ServiceError):
    """The database or the store of what is kept does not answer."""

    status = 503
    grpc_code = "UNAVAILABLE"
    slug = "storage-unavailable"
    title = "What is kept cannot be reached"
    default_advice = "Wait a few seconds and send the request again."
    default_retry_after_seconds = 2.0


class PacsUnavailable(ServiceError):
    """The DICOMweb server cannot be reached, or takes no requests now."""

    status = 503
    grpc_code = "UNAVAILABLE"
    slug = "pacs-unavailable"
    title = "The DICOMweb server cannot be reached"
    default_advice = "Send the request again later, or as a job, which waits for the DICOMweb server."
    default_retry_after_seconds = 10.0


class PacsTimeout(ServiceError):
    """The DICOMweb server did not answer, or not send the study, in time."""

    status = 504
    grpc_code = "DEADLINE_EXCEEDED"
    slug = "pacs-timeout"
    title = "The DICOMweb server did not answer in time"
    default_advice = "Send the request again later, or as a job, which waits for the DICOMweb server."


class PacsRefused(ServiceError):
    """The DICOMweb server does not accept discgrade's credentials."""

    status = 502
    grpc_code = "INTERNAL"
    slug = "pacs-refused"
    title = "The DICOMweb server refuses discgrade"
    default_advice = "Have the operator check the credentials of this server in discgrade's configuration."


class PacsFailed(ServiceError):
    """The DICOMweb server answered with an error, or with what cannot be used."""

    status = 502
    grpc_code = "INTERNAL"
    slug = "pacs-failed"
    title = "The DICOMweb server failed"
    default_advice = "Try again; if it persists, report the request id to the operator."


class InferenceUnavailable(ServiceError):
    """tritonserver is not ready."""

    status = 503
    grpc_code = "UNAVAILABLE"
    slug = "inference-unavailable"
    title = "The inference server is not ready"
    default_advice = "Wait a few seconds and send the request again."
    default_retry_after_seconds = 2.0


class InferenceTimeout(ServiceError):
    """tritonserver did not answer in time."""

    status = 504
    grpc_code = "DEADLINE_EXCEEDED"
    slug = "inference-timeout"
    title = "The inference server did not answer in time"
    default_advice = "Send the request again, with fewer slices or less load."


class InferenceFailed(ServiceError):
    """tritonserver answered with an error, or ended too often to be started again."""

    slug = "inference-failed"
    title = "The inference server failed"
