"""A coordinator that cannot say yet what was committed is asked again; its answer does not mean that nothing was."""

import pytest
from aiokafka.errors import GroupLoadInProgressError, NotCoordinatorForGroupError
from aiokafka.protocol.commit import OffsetFetchResponse_v1, OffsetFetchResponse_v2, OffsetFetchResponse_v3

from tidegauge.stream.consumer import group_error

NOTHING = [("labels", [(0, -1, "", 0)])]


@pytest.mark.parametrize("error", [GroupLoadInProgressError, NotCoordinatorForGroupError])
def test_an_error_of_the_whole_group_is_one_to_try_again(error):
    for answer in (OffsetFetchResponse_v2([], error.errno), OffsetFetchResponse_v3(0, [], error.errno)):
        found = group_error(type(answer).decode(answer.encode()))
        assert isinstance(found, error)
        assert found.retriable


def test_an_answer_without_an_error_is_none():
    for answer in (OffsetFetchResponse_v1(NOTHING), OffsetFetchResponse_v2(NOTHING, 0), OffsetFetchResponse_v3(0, NOTHING, 0)):
        assert group_error(answer) is None
