"""How the gateway's gRPC channel finds tritonservers, spreads requests over them and outlives them (decision 45)."""

from __future__ import annotations

import json

__all__ = ["CHANNEL"]

_RETRIES = {
    "methodConfig": [
        {
            "name": [{}],  # every method: inference changes nothing, so another server may compute it again
            "retryPolicy": {
                "maxAttempts": 5,  # the most there may be
                "initialBackoff": "0.05s",
                "maxBackoff": "0.5s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
    ]
}

CHANNEL: list[tuple[str, str | int]] = [
    ("grpc.max_send_message_length", 2**31 - 1),
    ("grpc.max_receive_message_length", 2**31 - 1),
    # A name with several addresses, such as that of a headless Service, is that many servers: each gets its turn.
    ("grpc.lb_policy_name", "round_robin"),
    ("grpc.service_config", json.dumps(_RETRIES)),
    # A request larger than this buffer cannot be sent again; the largest study's slices are 64 MiB, several at a time.
    ("grpc.per_rpc_retry_buffer_size", 2**28),
    # The name is looked up again when a connection ends, and no sooner than this; the default is 30 s.
    ("grpc.dns_min_time_between_resolutions_ms", 2000),
    # After a restart of the server the next request must not wait out gRPC's usual back-off of up to 2 minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
]
"""Options of the channel."""
