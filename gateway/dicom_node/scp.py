"""The node's port: C-ECHO and C-STORE (PS3.4 A and B), for callers that are allowed."""

from __future__ import annotations

import shutil
import sqlite3
import ssl
import sys
import threading
import time
import weakref
from pathlib import Path
from socket import socket
from typing import Any

import structlog
from pydicom.uid import (
    JPEG2000,
    UID,
    DeflatedExplicitVRLittleEndian,
    EnhancedMRImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    LegacyConvertedEnhancedMRImageStorage,
    MRImageStorage,
    RLELossless,
)
from pynetdicom import AE, ALL_TRANSFER_SYNTAXES, AllStoragePresentationContexts, _config, evt
from pynetdicom.association import Association
from pynetdicom.events import Event

from gateway.dicom_node.header import Unreadable, read_header
from gateway.dicom_node.identity import IMPLEMENTATION_UID, IMPLEMENTATION_VERSION
from gateway.dicom_node.inbox import Full, Inbox, Kept
from gateway.dicom_node.links import Links
from gateway.dicom_node.metrics import NodeMetrics
from gateway.dicom_node.settings import NodeSettings, Tls
from gateway.dicom_node.spool import Spool
from gateway.logs import trace

__all__ = ["IMAGES", "TRANSFER_SYNTAXES", "StoragePort"]

IMAGES: tuple[UID, ...] = (MRImageStorage, EnhancedMRImageStorage, LegacyConvertedEnhancedMRImageStorage)
"""Storage SOP classes that are kept and graded."""
TRANSFER_SYNTAXES: tuple[UID, ...] = (
    *(ExplicitVRLittleEndian, ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian),
    *(RLELossless, JPEGLosslessSV1, JPEGLossless, JPEGLSLossless, JPEGLSNearLossless, JPEG2000Lossless, JPEG2000),
    JPEGBaseline8Bit,
)
"""In which they are taken: those that preprocess reads."""

SUCCESS, NO_SPACE, MISMATCH, UNREADABLE, TROUBLE = 0x0000, 0xA700, 0xA900, 0xC000, 0x0110
_VERIFICATION = "1.2.840.10008.1.1"
_UNKNOWN = "unknown"


class StoragePort:
    """Listens while it is open; every object that it answers with Success is on disk.

    Args:
        settings: The node's.
        inbox: Where objects are kept.
        metrics: Where is counted.
    """

    def __init__(self, settings: NodeSettings, inbox: Inbox, metrics: NodeMetrics) -> None:
        self._settings = settings
        self._inbox = inbox
        self._metrics = metrics
        self._spool = Spool(inbox.folder.parent / "incoming", settings.max_instance_bytes)
        self._lock = threading.Lock()
        self._touched: weakref.WeakKeyDictionary[Association, set[str]] = weakref.WeakKeyDictionary()
        self._ended: weakref.WeakSet[Association] = weakref.WeakSet()
        self._links = Links(settings.network_seconds)
        self._began: weakref.WeakKeyDictionary[Association, float] = weakref.WeakKeyDictionary()
        self._cut_off: dict[str, float] = {}
        self._ae = _entity(settings)
        self._server: Any = None

    def open(self) -> int:
        """Begin to listen; the port."""
        handlers: list[Any] = [
            (evt.EVT_CONN_OPEN, self._links.opened),
            (evt.EVT_ACCEPTED, self._accepted),
            (evt.EVT_C_ECHO, self._echo),
            (evt.EVT_C_STORE, self._store),
            (evt.EVT_REJECTED, self._rejected),
            (evt.EVT_RELEASED, self._released),
            (evt.EVT_ABORTED, self._cut),
            (evt.EVT_CONN_CLOSE, self._hung_up),
        ]
        context = None if self._settings.tls is None else _server_tls(self._settings.tls)
        self._server = self._ae.start_server(
            (self._settings.host, self._settings.port), block=False, ssl_context=context, evt_handlers=handlers
        )
        self._server.handle_error = _note_error  # it would print the exception's text
        return int(self._server.server_address[1])

    def close(self, wait_seconds: float) -> None:
        """Take no more associations, let those that are open end, and abort those that do not."""
        deadline = time.monotonic() + wait_seconds
        server, self._server = self._server, None
        server.shutdown()
        while server.active_associations and time.monotonic() < deadline:
            time.sleep(0.05)
        for association in server.active_associations:
            association.abort()

    def sending(self) -> set[str]:
        """Pseudonyms of studies of which an open association has sent something."""
        with self._lock:
            return set().union(*(studies for one, studies in self._touched.items() if one not in self._ended))

    def _accepted(self, event: Event) -> None:
        self._began[event.assoc] = time.monotonic()
        refused = len(event.assoc.rejected_contexts)
        if refused:
            self._metrics.contexts.labels(self._caller(event)).inc(refused)
            structlog.get_logger().warning("contexts refused", caller=self._caller(event), count=refused)

    def _echo(self, event: Event) -> int:
        return SUCCESS

    def _store(self, event: Event) -> int:
        try:
            outcome, status = self._kept(event)
        except (OSError, sqlite3.OperationalError):
            outcome, status = "no-space", NO_SPACE
        except Exception as error:
            structlog.get_logger().error("object not kept", error=trace(error))
            outcome, status = "trouble", TROUBLE
        self._metrics.instances.labels(outcome).inc()
        if status != SUCCESS:
            structlog.get_logger().warning(
                "object refused", caller=self._caller(event), outcome=outcome, status=f"{status:04X}"
            )
        return status

    def _kept(self, event: Event) -> tuple[str, int]:
        request: Any = event.request
        if request.AffectedSOPClassUID not in IMAGES:
            return "ignored", SUCCESS
        spooled = self._spool.received(event.dataset_path)
        if spooled.size > self._settings.max_instance_bytes:
            return "too-large", NO_SPACE
        if shutil.disk_usage(self._inbox.folder).free < self._settings.min_free_bytes:
            return "no-space", NO_SPACE
        spooled.finish()
        try:
            header = read_header(Path(spooled.name))
        except Unreadable:
            return "unreadable", UNREADABLE
        if (header.sop_class, header.instance) != (request.AffectedSOPClassUID, request.AffectedSOPInstanceUID):
            return "mismatch", MISMATCH
        try:
            study, kept = self._inbox.keep(spooled, header, self._caller(event))
        except Full:
            return "too-large", NO_SPACE
        self._note(event.assoc, study, kept)
        return kept, SUCCESS

    def _note(self, association: Association, study: str, kept: Kept) -> None:
        with self._lock:
            first = study not in self._touched.setdefault(association, set())
            self._touched[association].add(study)
        if not first or kept is Kept.DUPLICATE:
            return
        others, revision = self._inbox.other_patients(study), self._inbox.revision_of(study)
        for event, happened in (("two-patients", others > 0), ("late", revision > 1)):
            if happened:
                self._metrics.studies.labels(event).inc()
                structlog.get_logger().warning("study", study=study, revision=revision, what=event)

    def _rejected(self, event: Event) -> None:
        primitive: Any = event.assoc.requestor.primitive
        known = primitive.calling_ae_title in self._settings.callers
        called = primitive.called_ae_title == self._settings.ae_title
        why = "rejected-calling" if not known else "rejected-busy" if called else "rejected-called"
        self._ended_as(event, why)

    def _released(self, event: Event) -> None:
        self._end(event.assoc, whole=True)
        self._ended_as(event, "released")

    def _hung_up(self, event: Event) -> None:
        self._cut(event)
        self._links.close(event.assoc)
        event.assoc.dimse.message = None  # what was being received goes with its file
        if event.assoc.requestor.primitive is None:  # who connects and says nothing must not hold a place for long
            waking: Any = event.assoc.dul.to_user_queue
            waking.put(None)

    def _cut(self, event: Event) -> None:
        if event.assoc.is_released:  # then this is the end of its connection
            return
        with self._lock:
            is_first = event.assoc not in self._ended
            self._ended.add(event.assoc)
        if is_first and event.assoc.requestor.primitive is not None and not event.assoc.is_rejected:
            self._end(event.assoc, whole=False)
            self._ended_as(event, "aborted")

    def _end(self, association: Association, *, whole: bool) -> None:
        with self._lock:
            self._ended.add(association)
            mine = self._touched.get(association, set())
            for study in mine:
                # What an association left open that began before another one was cut off is not made good by its end.
                if not whole:
                    self._cut_off[study] = time.monotonic()
                elif self._cut_off.get(study, 0.0) < self._began[association]:
                    self._cut_off.pop(study, None)
            good = {study for study in mine if study not in self._cut_off}
        for study in mine - self.sending():
            self._inbox.sent(study, whole=study in good)
        if not whole:
            self._metrics.studies.labels("interrupted").inc(len(mine))

    def _ended_as(self, event: Event, outcome: str) -> None:
        self._metrics.associations.labels(self._caller(event), outcome).inc()
        structlog.get_logger().info("association", caller=self._caller(event), outcome=outcome)

    def _caller(self, event: Event) -> str:
        title = event.assoc.requestor.ae_title
        return title if title in self._settings.callers else _UNKNOWN


def _note_error(*_: object) -> None:
    error = sys.exc_info()[1]
    structlog.get_logger().error("connection failed", error=trace(error) if error is not None else None)


def _entity(settings: NodeSettings) -> AE:
    _config.LOG_HANDLER_LEVEL = "none"  # it would format each message, patient's names included
    entity = AE(settings.ae_title)
    entity.implementation_class_uid = UID(IMPLEMENTATION_UID)
    entity.implementation_version_name = IMPLEMENTATION_VERSION
    entity.require_calling_aet = list(settings.callers)
    entity.require_called_aet = True
    entity.maximum_associations = settings.max_associations
    entity.maximum_pdu_size = settings.max_pdu_bytes
    entity.network_timeout = settings.network_seconds
    entity.acse_timeout = settings.network_seconds
    entity.dimse_timeout = settings.network_seconds
    entity.add_supported_context(_VERIFICATION)
    for image in IMAGES:
        entity.add_supported_context(image, list(TRANSFER_SYNTAXES))
    if settings.other_objects == "ignore":
        for other in AllStoragePresentationContexts:
            if other.abstract_syntax is not None and other.abstract_syntax not in IMAGES:
                entity.add_supported_context(other.abstract_syntax, ALL_TRANSFER_SYNTAXES)
    return entity


class _PatientContext(ssl.SSLContext):
    """Leaves the handshake to the connection's own thread: one silent caller must not keep all others waiting."""

    def wrap_socket(self, sock: socket, server_side: bool = False, **_: Any) -> ssl.SSLSocket:  # type: ignore[override]
        return super().wrap_socket(sock, server_side=server_side, do_handshake_on_connect=False)


def _server_tls(tls: Tls) -> ssl.SSLContext:
    context = _PatientContext(ssl.PROTOCOL_TLS_SERVER)  # PS3.15 B.12: TLS 1.2 and 1.3, as BCP 195 has it
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if tls.cert is None or tls.key is None:
        raise ValueError("the node's port needs a certificate")
    context.load_cert_chain(tls.cert, tls.key)
    if tls.ca is not None:
        context.load_verify_locations(tls.ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context
