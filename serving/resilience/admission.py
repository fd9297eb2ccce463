"""How much is let in: beyond it, clients hear at once that they should come back, before memory grows."""

from __future__ import annotations

from serving.http.errors import ApiError

RETRY_AFTER_S = 1


class Place:
    """One admitted request and the bytes of its body that are held; given back at the end of its context."""

    __slots__ = ("_admission", "_n_bytes")

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self._n_bytes = 0

    def __enter__(self) -> Place:
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()

    def hold(self, n_bytes: int) -> None:
        """Count further bytes; `ApiError` (503) if all requests together would hold too many."""
        self._admission.take_bytes(n_bytes)
        self._n_bytes += n_bytes

    def leave(self) -> None:
        """Give everything back."""
        self._admission.give_back(self._n_bytes)


class Admission:
    """Bounds what is in flight at once.

    Parameters
    ----------
    max_requests
        Most requests at once, streams included.
    max_bytes
        Most bytes of request bodies at once.
    """

    def __init__(self, max_requests: int, max_bytes: int) -> None:
        self._max_requests = max_requests
        self._max_bytes = max_bytes
        self.requests = 0
        self.bytes = 0

    def place(self) -> Place:
        """Let a request in; `ApiError` (503, with `Retry-After`) if there is no room."""
        if self.requests >= self._max_requests:
            raise _busy()
        self.requests += 1
        return Place(self)

    def take_bytes(self, n_bytes: int) -> None:
        """See `Place.hold`."""
        if self.bytes + n_bytes > self._max_bytes:
            raise _busy()
        self.bytes += n_bytes

    def give_back(self, n_bytes: int) -> None:
        """See `Place.leave`."""
        self.requests -= 1
        self.bytes -= n_bytes


def _busy() -> ApiError:
    headers = {"retry-after": str(RETRY_AFTER_S)}
    message = "The gateway has as many requests in flight as it takes. Try again in a moment."
    return ApiError(503, message, code="overloaded", headers=headers)
