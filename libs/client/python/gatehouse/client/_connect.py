"""Ways into a mesh: through the sidecar beside the process, or over mTLS with files that are followed."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

import grpc

from ._contract import CONTRACT_HEADER, CONTRACT_VERSION, DEADLINE_SECONDS

RESPONSE_BYTES_MAX_DEFAULT = 16 * 1024 * 1024
IDENTITY_REFRESH_SECONDS = 10.0
"""How often the identity's files are looked at."""

Stub = TypeVar("Stub")
_Options = list[tuple[str, Any]]


@dataclass(frozen=True)
class Identity:
    """PEM files; they are followed, and calls that begin later use what is in them."""

    certificate_file: str | os.PathLike[str]
    key_file: str | os.PathLike[str]
    bundle_file: str | os.PathLike[str]


def connect(
    *,
    sidecar: str | None = None,
    address: str | None = None,
    server_name: str | None = None,
    identity: Identity | None = None,
    response_bytes_max: int = RESPONSE_BYTES_MAX_DEFAULT,
) -> Mesh:
    """Opens a way into the mesh. Nothing is dialled before the first call.

    :param sidecar: the egress socket of the sidecar beside this process, which holds the identity, balances and retries:
        `unix:/run/gatehouse/egress.sock`, or a loopback address
    :param address: `host:port` of a sidecar of the mesh, for callers without one of their own
    :param server_name: with `address`: a DNS name of the server's certificate. grpcio looks at no SPIFFE ID: where it matters
        which workload of the trust domain answers, and names do not tell, call through a sidecar
    :param identity: with `address`
    :param response_bytes_max: the largest message that is taken
    """
    options: _Options = [
        ("grpc.max_receive_message_length", response_bytes_max),
        # The sidecar retries, within a budget: a second layer would multiply what goes wrong.
        ("grpc.enable_retries", 0),
    ]
    if sidecar is not None and address is None and identity is None and server_name is None:
        return Mesh(lambda authority: grpc.insecure_channel(sidecar, [*options, ("grpc.default_authority", authority)]))
    if sidecar is None and address is not None and identity is not None and server_name is not None:
        options.append(("grpc.ssl_target_name_override", server_name))
        return Mesh(_Followed(identity, lambda credentials: grpc.secure_channel(address, credentials, options)), False)
    raise TypeError("connect: expected sidecar, or address with server_name and identity")


class Mesh:
    """A way into the mesh. Closing it ends calls in progress with CANCELLED."""

    def __init__(self, channel_to: Callable[[str], grpc.Channel], needs_upstream: bool = True) -> None:
        self._channel_to = channel_to
        self._needs_upstream = needs_upstream
        self._channels: dict[str, grpc.Channel] = {}

    def stub(self, stub_class: Callable[[grpc.Channel], Stub], upstream: str | None = None) -> Stub:
        """A stub of a service of the mesh. Calls that bring no timeout get the contract's default.

        :param upstream: the name that the sidecar knows the service by; needed through a sidecar, without meaning otherwise
        """
        if upstream is None and self._needs_upstream:
            raise TypeError("upstream: expected the name that the sidecar knows the service by, such as inference")
        name = upstream or ""

        def channel() -> grpc.Channel:
            if not self._needs_upstream:
                return self._channel_to(name)
            if name not in self._channels:
                self._channels[name] = self._channel_to(name)
            return self._channels[name]

        return stub_class(_MeshChannel(channel))

    def close(self) -> None:
        for channel in self._channels.values():
            channel.close()
        if isinstance(self._channel_to, _Followed):
            self._channel_to.close()

    def __enter__(self) -> Mesh:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Followed:
    """The channel of what is in the identity's files at present; one that calls still use lives as long as they do."""

    def __init__(self, identity: Identity, dial: Callable[[grpc.ChannelCredentials], grpc.Channel]) -> None:
        self._files = [Path(identity.bundle_file), Path(identity.key_file), Path(identity.certificate_file)]
        self._dial = dial
        self._lock = Lock()
        self._read: list[bytes] = []
        self._looked_at = float("-inf")
        self._channel: grpc.Channel | None = None

    def __call__(self, _: str) -> grpc.Channel:
        with self._lock:
            now = time.monotonic()
            if self._channel is None or now - self._looked_at >= IDENTITY_REFRESH_SECONDS:
                self._looked_at = now
                read = [file.read_bytes() for file in self._files]
                if self._channel is None or read != self._read:
                    self._read = read
                    self._channel = self._dial(grpc.ssl_channel_credentials(*read))
            return self._channel

    def close(self) -> None:
        with self._lock:
            if self._channel is not None:
                self._channel.close()


class _MeshChannel(grpc.Channel):
    """What stubs are made on: asks for the channel at every call."""

    def __init__(self, channel: Callable[[], grpc.Channel]) -> None:
        self._channel = channel

    def unary_unary(self, method: str, *args: Any, **kwargs: Any) -> Any:
        return _Method(self._channel, "unary_unary", method, args, kwargs)

    def unary_stream(self, method: str, *args: Any, **kwargs: Any) -> Any:
        return _Method(self._channel, "unary_stream", method, args, kwargs)

    def stream_unary(self, method: str, *args: Any, **kwargs: Any) -> Any:
        return _Method(self._channel, "stream_unary", method, args, kwargs)

    def stream_stream(self, method: str, *args: Any, **kwargs: Any) -> Any:
        return _Method(self._channel, "stream_stream", method, args, kwargs)

    def subscribe(self, callback: Any, try_to_connect: bool = False) -> None:
        self._channel().subscribe(callback, try_to_connect)

    def unsubscribe(self, callback: Any) -> None:
        self._channel().unsubscribe(callback)

    def close(self) -> None:
        """The mesh closes its channels."""

    def __enter__(self) -> _MeshChannel:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Method:
    """A method of a stub: adds the contract's deadline and version to calls of our contract."""

    def __init__(
        self, channel: Callable[[], grpc.Channel], kind: str, path: str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        self._channel = channel
        self._make = lambda on: getattr(on, kind)(path, *args, **kwargs)
        self._deadline_seconds = DEADLINE_SECONDS.get(path)
        self._made: tuple[grpc.Channel, Any] | None = None

    def __call__(self, request: Any, timeout: float | None = None, metadata: Any = None, **more: Any) -> Any:
        return self._callable()(request, **self._contracted(timeout, metadata), **more)

    def with_call(self, request: Any, timeout: float | None = None, metadata: Any = None, **more: Any) -> Any:
        return self._callable().with_call(request, **self._contracted(timeout, metadata), **more)

    def future(self, request: Any, timeout: float | None = None, metadata: Any = None, **more: Any) -> Any:
        return self._callable().future(request, **self._contracted(timeout, metadata), **more)

    def _callable(self) -> Any:
        channel = self._channel()
        if self._made is None or self._made[0] is not channel:
            self._made = (channel, self._make(channel))
        return self._made[1]

    def _contracted(self, timeout: float | None, metadata: Any) -> dict[str, Any]:
        if self._deadline_seconds is None:
            return {"timeout": timeout, "metadata": metadata}
        return {
            "timeout": self._deadline_seconds if timeout is None else timeout,
            "metadata": (*(metadata or ()), (CONTRACT_HEADER, CONTRACT_VERSION)),
        }
