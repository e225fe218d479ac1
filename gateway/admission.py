"""Bounded admission by cost: how many slices are in the house at a time, and who has to wait or come back.

The cost of a study is its number of slices, estimated from the size of the upload before its body is read and corrected
once it was. Up to ``capacity`` slices are read and graded at a time, up to ``queue`` more are received or wait, first
come, first served. Whoever finds no place, or more work before it than is done in ``ahead_seconds``, is told when to
come back, before its body is read or when its turn would begin: so what is taken is graded nearly as soon as ever,
however many come (decision 50).
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from discgrade.errors import Overloaded

__all__ = ["Admission", "Ticket"]

_BYTES_PER_SLICE = 200_000
"""320 × 320 pixels of 16 bits; a guess that errs to more slices, and lasts only while the upload is read."""
_SAMPLES = 64
_RETRY_SECONDS = 1.0, 120.0
_PROMISED_SECONDS = 30.0


class Admission:
    """Counts the slices in the house; used within one event loop.

    Args:
        capacity: Most slices graded at a time; a larger study is graded alone.
        queue: Most slices received or waiting beyond those.
        ahead_seconds: Most seconds of work, as measured, that may be before a study that is taken, however large it is.
            Before it was measured how fast slices leave, ``capacity`` may be before it.
        max_wait_seconds: Longest wait for one's turn, should the work take longer than measured.
        max_slices: Most slices a study may have.
        clock: Seconds that never go back.
    """

    def __init__(
        self,
        capacity: int,
        queue: int,
        ahead_seconds: float,
        max_wait_seconds: float,
        max_slices: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._capacity = capacity
        self._queue = queue
        self._ahead_seconds = ahead_seconds
        self._max_wait = max_wait_seconds
        self._max_slices = max_slices
        self._present = 0
        self._running = 0
        self._line: deque[tuple[Ticket, asyncio.Future[None]]] = deque()
        self._received: dict[Ticket, float] = {}
        self._closed = False
        self._clock = clock
        self._rate = _Rate(clock)
        self._promises = _Promises(clock)

    @property
    def capacity(self) -> int:
        """Most slices graded at a time."""
        return self._capacity

    @property
    def queue(self) -> int:
        """Most slices received or waiting beyond those."""
        return self._queue

    @property
    def present(self) -> int:
        """Slices in the house: being received, waiting and running."""
        return self._present

    @property
    def running(self) -> int:
        """Slices being read or graded."""
        return self._running

    @property
    def busy(self) -> bool:
        """Whether studies are here that take half as long as may be before another one: jobs had better wait."""
        return self._rate.known and self._rate.seconds_for(self._ahead) > self._ahead_seconds / 2

    @property
    def closed(self) -> bool:
        """Whether new work is refused because the server shuts down."""
        return self._closed

    def close(self) -> None:
        """Refuse all new work; what is in the house goes on."""
        self._closed = True

    def estimate(self, declared_bytes: int | None) -> int:
        """Guess the slices of an upload before it is read.

        Args:
            declared_bytes: Its size as its sender says; None where it does not, and the most has to be expected.
        """
        if declared_bytes is None:
            return self._max_slices
        return max(1, min(math.ceil(declared_bytes / _BYTES_PER_SLICE), self._max_slices))

    @asynccontextmanager
    async def admit(self, cost: int, *, patient: bool = False) -> AsyncIterator[Ticket]:
        """Keep a place in the house for the length of the block.

        Args:
            cost: Slices, estimated.
            patient: Whether the study, once it was received, rather waits long for its turn than comes back.

        Yields:
            A ticket; :meth:`Ticket.turn` waits until its work may begin.

        Raises:
            Overloaded: The house is full, too much work is before the study, or the server shuts down.
        """
        if self._closed:
            seconds = self._rate.seconds_for(self._present) if self._rate.known else None
            raise Overloaded("The server is shutting down.", retry_after_seconds=_bounded(seconds))
        excess = self._present + cost - self._capacity
        if self._present and (excess > self._queue or self._is_late(self._ahead + self._soon)):
            raise self._refusal(cost, excess - self._queue)
        ticket = Ticket(self, cost, patient=patient)
        self._present += cost
        self._received[ticket] = self._clock()
        try:
            yield ticket
        finally:
            self._received.pop(ticket, None)
            self._leave(ticket)

    @property
    def _ahead(self) -> int:
        """Slices that have begun or wait for their turn."""
        return self._running + sum(ticket.cost for ticket, _ in self._line)

    @property
    def _soon(self) -> int:
        """Slices that are being received and will be before who comes now; senders who take long are overtaken.

        Each study for as much as studies had lately: what was guessed from its size errs to more.
        """
        latest = self._clock() - self._ahead_seconds
        return round(sum(since > latest for since in self._received.values()) * self._rate.mean)

    def _is_late(self, ahead: int) -> bool:
        if not self._rate.known:
            return ahead >= self._capacity
        return self._rate.seconds_for(ahead) > self._ahead_seconds

    def _refusal(self, cost: int, excess: int) -> Overloaded:
        """Tell a study when there will be room for it, and each one a later time than the one before."""
        seconds = None
        if self._rate.known:
            room = max(self._rate.seconds_for(excess), self._rate.seconds_for(self._ahead) - self._ahead_seconds)
            seconds = self._promises.next(room, self._rate.seconds_for(cost))
        return Overloaded("More studies come than can be graded in time.", retry_after_seconds=_bounded(seconds))

    async def _turn(self, ticket: Ticket) -> None:
        self._received.pop(ticket, None)
        if self._is_late(self._ahead) and not ticket.patient:
            raise self._refusal(ticket.cost, 0)
        if not self._line and self._fits(ticket):
            self._start(ticket)
            return
        place = ticket, asyncio.get_running_loop().create_future()
        self._line.append(place)
        try:
            async with asyncio.timeout(self._max_wait):
                await place[1]
        except TimeoutError:
            waited = f"The study waited {self._max_wait:g} seconds for its turn."
            raise Overloaded(waited, retry_after_seconds=_bounded(self._rate.seconds_for(self._ahead))) from None
        finally:
            if place in self._line:
                self._line.remove(place)
                self._call_next()

    def _fits(self, ticket: Ticket) -> bool:
        return self._running == 0 or self._running + ticket.cost <= self._capacity

    def _start(self, ticket: Ticket) -> None:
        ticket.running = True
        self._rate.add(0, was_running=self._running > 0)
        self._running += ticket.cost

    def _call_next(self) -> None:
        while self._line and self._fits(self._line[0][0]):
            ticket, called = self._line.popleft()
            if not called.done():  # cancelled in this moment
                self._start(ticket)
                called.set_result(None)

    def _correct(self, ticket: Ticket, slices: int) -> None:
        difference = slices - ticket.cost
        ticket.cost = slices
        self._present += difference
        if ticket.running:
            self._running += difference
        self._call_next()

    def _leave(self, ticket: Ticket) -> None:
        self._present -= ticket.cost
        if ticket.running:
            self._rate.add(ticket.cost, was_running=True)
            self._running -= ticket.cost
        self._call_next()


class Ticket:
    """A study's place in the house.

    Attributes:
        cost: Slices it counts for.
        patient: Whether it rather waits long for its turn than comes back.
        running: Whether its work has begun.
    """

    def __init__(self, admission: Admission, cost: int, *, patient: bool) -> None:
        self._admission = admission
        self.cost = cost
        self.patient = patient
        self.running = False

    async def turn(self) -> None:
        """Wait until the work may begin.

        Raises:
            Overloaded: Too much work is before it by now, or the wait was too long.
        """
        await self._admission._turn(self)

    def correct(self, slices: int) -> None:
        """Say how many slices the study really has."""
        self._admission._correct(self, slices)


def _bounded(seconds: float | None) -> float | None:
    """When to come back; None before anything was measured."""
    least, most = _RETRY_SECONDS
    return None if seconds is None else min(max(seconds, least), most)


class _Promises:
    """Until when the house is filled by those who were told to come back, should all of them do so."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._until = clock()

    def next(self, room_seconds: float, work_seconds: float) -> float:
        """Seconds until the next one should come back.

        Args:
            room_seconds: Until there is room for it.
            work_seconds: What it takes itself.
        """
        now = self._clock()
        at = max(now + room_seconds, self._until)
        # Not all come back: they shall not be told ever later times.
        self._until = min(at + work_seconds, now + _PROMISED_SECONDS)
        return at - now


class _Rate:
    """Slices that left per second of work, over the last studies; idle time does not count."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._busy = 0.0
        self._last = clock()
        self._left: deque[tuple[float, int]] = deque(maxlen=_SAMPLES)

    @property
    def known(self) -> bool:
        return self._per_second() > 0

    @property
    def mean(self) -> float:
        """Slices of a study; 0 before anything was measured."""
        return sum(slices for _, slices in self._left) / (len(self._left) - 1) if self.known else 0.0

    def add(self, slices: int, *, was_running: bool) -> None:
        """Move the clock of busy time, and count what left now."""
        now = self._clock()
        if was_running:
            self._busy += now - self._last
        self._last = now
        if slices or not self._left:
            self._left.append((self._busy, slices))

    def seconds_for(self, slices: int) -> float:
        """Time until so many slices have left; 0 before anything was measured."""
        per_second = self._per_second()
        return max(slices, 0) / per_second if per_second else 0.0

    def _per_second(self) -> float:
        if len(self._left) < 2:
            return 0.0
        (first, _), *rest = self._left
        elapsed = rest[-1][0] - first
        return sum(slices for _, slices in rest) / elapsed if elapsed > 0 else 0.0
