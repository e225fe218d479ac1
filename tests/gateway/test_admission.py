"""Who gets in, who waits, and what those who do not are told."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discgrade.errors import Overloaded
from gateway.admission import Admission, Ticket


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def unmeasured(clock: Clock) -> Admission:
    return Admission(capacity=30, queue=20, ahead_seconds=60, max_wait_seconds=60, max_slices=256, clock=clock)


@pytest.fixture
async def admission(unmeasured: Admission, clock: Clock) -> Admission:
    """Two slices left a second so far."""
    await work(unmeasured, clock, seconds=5)
    return unmeasured


async def work(admission: Admission, clock: Clock, seconds: float) -> None:
    """Three studies of ten slices, each in so many seconds, with idle hours between them."""
    for _ in range(3):
        async with admission.admit(10) as ticket:
            await ticket.turn()
            clock.now += seconds
        clock.now += 3600


async def enter(stack: AsyncExitStack, admission: Admission, cost: int) -> Ticket:
    return await stack.enter_async_context(admission.admit(cost))


async def refused(admission: Admission, cost: int) -> Overloaded:
    with pytest.raises(Overloaded) as caught:
        async with admission.admit(cost):
            pass
    return caught.value


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_the_house_holds_capacity_and_queue_and_no_more(admission: Admission) -> None:
    async with AsyncExitStack() as stack:
        for _ in range(5):
            await enter(stack, admission, 10)
        assert admission.present == 50
        await refused(admission, 1)
    assert admission.present == 0
    async with admission.admit(50):
        pass


async def test_a_study_larger_than_the_house_is_graded_alone(admission: Admission) -> None:
    async with admission.admit(200) as ticket:
        await ticket.turn()
        await refused(admission, 1)
    async with AsyncExitStack() as stack:
        await enter(stack, admission, 1)
        await refused(admission, 200)


async def test_turns_come_in_order_and_a_small_study_does_not_overtake(admission: Admission) -> None:
    order: list[str] = []

    async def wait(name: str, ticket: Ticket) -> None:
        await ticket.turn()
        order.append(name)

    async with AsyncExitStack() as stack:
        async with admission.admit(20) as first:
            await first.turn()
            large = await enter(stack, admission, 25)
            small = await enter(stack, admission, 5)
            waiting = [asyncio.create_task(wait("large", large)), asyncio.create_task(wait("small", small))]
            await settled()
            assert order == []
            assert admission.running == 20
        await asyncio.gather(*waiting)
    assert order == ["large", "small"]
    assert (admission.running, admission.present) == (0, 0)


async def test_the_true_number_of_slices_lets_the_next_begin(admission: Admission) -> None:
    async with AsyncExitStack() as stack:
        guessed = await enter(stack, admission, 30)
        await guessed.turn()
        other = await enter(stack, admission, 15)
        waiting = asyncio.create_task(other.turn())
        await settled()
        assert not waiting.done()
        guessed.correct(15)
        await waiting
        assert (admission.running, admission.present) == (30, 30)
    assert (admission.running, admission.present) == (0, 0)


async def test_who_leaves_the_line_lets_others_by(admission: Admission) -> None:
    async with AsyncExitStack() as stack:
        running = await enter(stack, admission, 20)
        await running.turn()
        large = asyncio.create_task((await enter(stack, admission, 20)).turn())
        small = asyncio.create_task((await enter(stack, admission, 10)).turn())
        await settled()
        assert not small.done()
        large.cancel()
        await small
        with pytest.raises(asyncio.CancelledError):
            await large
        assert admission.running == 30


async def test_a_wait_has_an_end() -> None:
    clock = Clock()
    admission = Admission(10, 10, ahead_seconds=60, max_wait_seconds=0.01, max_slices=256, clock=clock)
    await work(admission, clock, seconds=5)
    async with AsyncExitStack() as stack:
        await (await enter(stack, admission, 10)).turn()
        late = await enter(stack, admission, 10)
        with pytest.raises(Overloaded, match="waited"):
            await late.turn()


async def test_retry_after_is_what_was_measured(admission: Admission) -> None:
    async with AsyncExitStack() as stack:
        await enter(stack, admission, 50)
        # 20 slices too many leave in 10 seconds of work; idle hours do not count.
        assert (await refused(admission, 20)).retry_after_seconds == pytest.approx(10.0)


async def test_each_is_told_a_later_time_than_the_one_before(admission: Admission, clock: Clock) -> None:
    async with AsyncExitStack() as stack:
        await enter(stack, admission, 50)
        told = [(await refused(admission, 20)).retry_after_seconds for _ in range(5)]
        # Each takes 10 seconds itself. Not all come back, so the times have an end.
        assert told == pytest.approx([10.0, 20.0, 30.0, 30.0, 30.0])
        clock.now += 3600
        assert (await refused(admission, 20)).retry_after_seconds == pytest.approx(10.0)


async def test_before_anything_was_measured_nobody_waits_and_the_usual_time_is_told(unmeasured: Admission) -> None:
    async with unmeasured.admit(30) as first, unmeasured.admit(5) as second:
        await first.turn()
        assert (await refused(unmeasured, 1)).retry_after_seconds == Overloaded.default_retry_after_seconds
        with pytest.raises(Overloaded):
            await second.turn()


@pytest.fixture
async def hurried(clock: Clock) -> Admission:
    """Much room, but only for what is graded soon; one slice left a second so far."""
    admission = Admission(1000, 1000, ahead_seconds=15, max_wait_seconds=60, max_slices=256, clock=clock)
    await work(admission, clock, seconds=10)
    return admission


@pytest.mark.parametrize("slices", [1, 200])
async def test_who_has_too_much_work_before_it_is_told_at_once(hurried: Admission, slices: int) -> None:
    async with AsyncExitStack() as stack:
        for _ in range(2):
            await (await enter(stack, hurried, 8)).turn()
        assert (await refused(hurried, slices)).retry_after_seconds == pytest.approx(1.0)  # 16 s of work, 15 may be
        await stack.aclose()
        async with hurried.admit(slices) as ticket:  # however large it is
            await ticket.turn()


async def test_what_is_being_received_will_be_before_who_comes_now(hurried: Admission) -> None:
    """Each as the 10 slices that studies had so far, whatever is guessed of it."""
    async with AsyncExitStack() as stack:
        for guess in (200, 1):
            await enter(stack, hurried, guess)
        await refused(hurried, 1)  # 20 s of work, 15 may be
    async with hurried.admit(1):
        pass


async def test_who_was_overtaken_while_it_was_received_is_told_then(hurried: Admission, clock: Clock) -> None:
    async with AsyncExitStack() as stack:
        slow = await enter(stack, hurried, 10)
        rather = await stack.enter_async_context(hurried.admit(10, patient=True))
        clock.now += 16
        for _ in range(2):
            await (await enter(stack, hurried, 8)).turn()
        with pytest.raises(Overloaded):
            await slow.turn()
        await rather.turn()
        assert hurried.running == 26


async def test_slow_senders_keep_nobody_away(hurried: Admission, clock: Clock) -> None:
    async with AsyncExitStack() as stack:
        for _ in range(4):
            await enter(stack, hurried, 200)
            clock.now += 16
        await (await enter(stack, hurried, 10)).turn()
        assert hurried.running == 10


async def test_closing_refuses_the_new_and_ends_the_old_in_peace(admission: Admission) -> None:
    async with admission.admit(10) as ticket:
        admission.close()
        assert (await refused(admission, 1)).detail == "The server is shutting down."
        await ticket.turn()
        assert admission.present == 10
    assert admission.present == 0


@pytest.mark.parametrize(("declared", "slices"), [(None, 256), (0, 1), (200_001, 2), (3_000_000, 15), (10**12, 256)])
def test_the_size_of_the_body_gives_a_guess(admission: Admission, declared: int | None, slices: int) -> None:
    assert admission.estimate(declared) == slices


@given(st.lists(st.tuples(st.integers(1, 40), st.integers(1, 40), st.integers(0, 4)), min_size=1, max_size=30))
async def test_whatever_happens_the_house_is_empty_in_the_end(visits: list[tuple[int, int, int]]) -> None:
    clock = Clock()
    admission = Admission(30, 100, ahead_seconds=60, max_wait_seconds=60, max_slices=256, clock=clock)
    await work(admission, clock, seconds=1)
    most = 0

    async def visit(cost: int, truth: int, patience: int) -> None:
        nonlocal most
        async with admission.admit(cost) as ticket:
            await ticket.turn()
            most = max(most, admission.running if admission.running > cost else 0)
            for _ in range(patience):
                await asyncio.sleep(0)
            ticket.correct(min(truth, cost))

    tasks = [asyncio.create_task(visit(*each)) for each in visits]
    for task, (_, _, patience) in zip(tasks, visits, strict=True):
        if patience == 4:
            await asyncio.sleep(0)
            task.cancel()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(outcome, Overloaded | asyncio.CancelledError | None) for outcome in outcomes)
    assert most <= 30
    assert (admission.present, admission.running) == (0, 0)


async def test_jobs_had_better_wait_once_half_of_what_may_be_before_a_study_is(
    hurried: Admission, clock: Clock
) -> None:
    """One slice leaves a second, and 15 s may be before a study."""
    assert not hurried.busy
    async with AsyncExitStack() as stack:
        await (await enter(stack, hurried, 7)).turn()
        await enter(stack, hurried, 100)  # is being received
        clock.now += 16
        assert not hurried.busy
        await (await enter(stack, hurried, 1)).turn()
        assert hurried.busy
    assert not hurried.busy
