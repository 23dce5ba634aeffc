"""What the mesh or the service said of a call that failed (google.rpc details)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

import grpc
from google.rpc import error_details_pb2, status_pb2


@dataclass(eq=False)
class CallFailure(Exception):
    code: grpc.StatusCode
    message: str
    reason: str = ""
    """ErrorInfo.reason, constant for one cause: NO_MATCHING_RULE. Empty where nothing was said."""
    metadata: dict[str, str] = field(default_factory=dict)
    """ErrorInfo.metadata."""
    retry_delay_seconds: float | None = None
    """When to try again; None: that was not said."""
    bad_fields: tuple[tuple[str, str], ...] = ()
    """Fields of the request that are wrong, each with what is expected."""
    quota: tuple[tuple[str, str], ...] = ()
    """Limits that are used up: subject and description."""

    @property
    def rule_id(self) -> str:
        """The policy rule that decided; empty where none did."""
        return self.metadata.get("rule", "")

    @property
    def decision_id(self) -> str:
        """Look this up in the sidecar's decision list and in the audit records."""
        return self.metadata.get("decision_id", "")

    @property
    def trace_id(self) -> str:
        """Look this up in Jaeger."""
        return self.metadata.get("trace_id", "")

    def __str__(self) -> str:
        return f"{self.code.name} {self.reason}: {self.message}"


def to_call_failure(error: grpc.RpcError) -> CallFailure:
    """Reads what a call was rejected with; meant for `except grpc.RpcError`."""
    call = cast(grpc.Call, error)
    code, message = call.code(), call.details() or ""
    encoded = next((value for key, value in call.trailing_metadata() or () if key == "grpc-status-details-bin"), None)
    if encoded is None:
        return CallFailure(code, message)
    info, retry, bad, quota = (
        error_details_pb2.ErrorInfo(),
        error_details_pb2.RetryInfo(),
        error_details_pb2.BadRequest(),
        error_details_pb2.QuotaFailure(),
    )
    retry_delay: float | None = None
    for detail in status_pb2.Status.FromString(encoded).details:
        if detail.Unpack(retry):
            retry_delay = retry.retry_delay.ToTimedelta().total_seconds()
        for known in (info, bad, quota):
            detail.Unpack(known)
    return CallFailure(
        code,
        message,
        reason=info.reason,
        metadata=dict(info.metadata),
        retry_delay_seconds=retry_delay,
        bad_fields=tuple((each.field, each.description) for each in bad.field_violations),
        quota=tuple((each.subject, each.description) for each in quota.violations),
    )
