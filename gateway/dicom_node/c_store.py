"""Sends objects to an archive by C-STORE (PS3.4 B)."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Sequence
from typing import Any

from pydicom import dcmread
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, evt

from gateway.dicom_node.identity import IMPLEMENTATION_UID, IMPLEMENTATION_VERSION
from gateway.dicom_node.links import Links
from gateway.dicom_node.outbox import Delivery, Outcome
from gateway.dicom_node.settings import CStoreDestination, Tls

__all__ = ["send_by_c_store"]

Attempt = tuple[Delivery, Outcome, str | None]
_OUT_OF_RESOURCES = range(0xA700, 0xA800)


def send_by_c_store(deliveries: Sequence[Delivery], destination: CStoreDestination, calling: str) -> Iterator[Attempt]:
    """Send objects in one association; yields how each attempt ended, as soon as it has.

    Args:
        deliveries: What to send.
        destination: Where to.
        calling: Our AE title.
    """
    classes = {delivery.number: _sop_class(delivery) for delivery in deliveries}
    entity = AE(calling)
    entity.implementation_class_uid = UID(IMPLEMENTATION_UID)
    entity.implementation_version_name = IMPLEMENTATION_VERSION
    for timeout in ("acse_timeout", "dimse_timeout", "network_timeout", "connection_timeout"):
        setattr(entity, timeout, destination.timeout_seconds)
    for sop_class in set(classes.values()):
        # PS3.5 10.1: the default transfer syntax is always offered; pynetdicom then converts.
        entity.add_requested_context(sop_class, [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
    tls: Any = None if destination.tls is None else (_client_tls(destination.tls), destination.host)
    links = Links(destination.timeout_seconds)
    association = entity.associate(
        destination.host,
        destination.port,
        ae_title=destination.ae_title,
        tls_args=tls,
        evt_handlers=[(evt.EVT_CONN_OPEN, links.opened)],
    )
    accepted = {context.abstract_syntax for context in association.accepted_contexts}
    refused = bool(association.rejected_contexts) and not accepted  # pynetdicom then ends the association
    try:
        for delivery in deliveries:
            if not association.is_established and not refused:
                yield delivery, Outcome.AWAY, _why_not(association)
            elif classes[delivery.number] not in accepted:
                yield delivery, Outcome.REFUSED, "presentation context refused"
            else:
                yield delivery, *_send(association, delivery)
    finally:
        if association.is_established:
            association.release()
        links.close(association)


def _send(association: Any, delivery: Delivery) -> tuple[Outcome, str | None]:
    try:
        answer = association.send_c_store(dcmread(delivery.path))
    except (ValueError, RuntimeError):  # no context in a transfer syntax that fits, or the association is gone
        return (Outcome.REFUSED, "transfer syntax refused") if association.is_established else (Outcome.AWAY, "cut off")
    if "Status" not in answer:
        return Outcome.AWAY, "no answer"
    status = int(answer.Status)
    if status == 0x0000 or status & 0xF000 == 0xB000:  # success, or a warning: it was stored
        return Outcome.DELIVERED, None
    said = f"status {status:04X}"
    return (Outcome.AWAY if status in _OUT_OF_RESOURCES else Outcome.REFUSED), said


def _sop_class(delivery: Delivery) -> UID:
    return UID(dcmread(delivery.path, specific_tags=["SOPClassUID"], stop_before_pixels=True).SOPClassUID)


def _why_not(association: Any) -> str:
    return "association rejected" if association.is_rejected else "association aborted or not answered"


def _client_tls(tls: Tls) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=tls.ca)
    if tls.cert is not None and tls.key is not None:
        context.load_cert_chain(tls.cert, tls.key)
    return context
