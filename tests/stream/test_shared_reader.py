"""Questions that many tasks ask at once travel together, and each gets an answer of a moment after it was asked."""

import asyncio

import pytest
from aiokafka import TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from tidegauge.stream.shared_reader import SharedQuestion

PLACES = [TopicPartition("metrics", number) for number in range(6)]


class Log:
    """Where partitions end, which advances as they are written to. An answer takes two turns of the event loop, and says where
    they ended in between."""

    def __init__(self):
        self.ends = dict.fromkeys(PLACES, 0)
        self.requests = []

    async def ask(self, places):
        self.requests.append(places)
        await asyncio.sleep(0)
        answer = {place: self.ends[place] for place in places}
        await asyncio.sleep(0)
        return answer


@given(st.lists(st.tuples(st.integers(0, 5), st.sets(st.sampled_from(PLACES), min_size=1)), min_size=1, max_size=40))
def test_an_answer_is_never_older_than_its_question(asked):
    async def test():
        log = Log()
        ends = SharedQuestion(log.ask)

        async def one(turns, places):
            for _ in range(turns):
                await asyncio.sleep(0)
            for place in places:
                log.ends[place] += 1
            before = dict(log.ends)
            answer = await ends(places)
            assert answer.keys() == places
            assert all(answer[place] >= before[place] for place in places)

        await asyncio.gather(*(one(*given) for given in asked))
        await ends.stop()
        # Nobody is asked about what nobody wants to know, and nobody twice at once.
        assert {place for request in log.requests for place in request} == {place for _, places in asked for place in places}

    asyncio.run(test())


def test_a_hundred_tasks_make_two_requests():
    async def test():
        log = Log()
        ends = SharedQuestion(log.ask)
        first = asyncio.create_task(ends([PLACES[0]]))
        while not log.requests:
            await asyncio.sleep(0)
        answers = await asyncio.gather(first, *(ends([PLACES[number % 6]]) for number in range(100)))
        assert all(len(answer) == 1 for answer in answers)
        assert log.requests == [PLACES[:1], PLACES]

    asyncio.run(test())


def test_a_task_that_is_cancelled_leaves_the_others_their_answer():
    async def test():
        ends = SharedQuestion(Log().ask)
        gone, other = (asyncio.create_task(ends([place])) for place in PLACES[:2])
        await asyncio.sleep(0)
        gone.cancel()
        assert await other == {PLACES[1]: 0}
        with pytest.raises(asyncio.CancelledError):
            await gone

    asyncio.run(test())


def test_an_error_reaches_all_who_asked_and_not_those_who_ask_later():
    async def test():
        log, broken = Log(), [OSError("no broker answers")]

        async def ask(places):
            if broken:
                raise broken.pop()
            return await log.ask(places)

        ends = SharedQuestion(ask)
        failed = await asyncio.gather(*(ends([place]) for place in PLACES), return_exceptions=True)
        assert [str(error) for error in failed] == ["no broker answers"] * 6
        assert await ends([PLACES[0]]) == {PLACES[0]: 0}

    asyncio.run(test())


def test_stopped_it_asks_no_more():
    async def test():
        log = Log()
        ends = SharedQuestion(log.ask)
        tasks = [asyncio.create_task(ends([PLACES[0]]))]
        while not log.requests:
            await asyncio.sleep(0)
        tasks.append(asyncio.create_task(ends([PLACES[1]])))
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await ends.stop()
        assert log.requests == [PLACES[:1]]
        assert asyncio.all_tasks() == {asyncio.current_task(), *(task for task in tasks if not task.done())}

    asyncio.run(test())
