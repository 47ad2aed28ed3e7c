"""The time that several hosts have recorded together."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from bwtop.clickhouse.recorded import RecordedTime

LENGTH = 12

hosts = st.lists(
    st.lists(st.integers(0, LENGTH), max_size=8, unique=True).map(sorted).map(pairwise).map(list),
    max_size=5,
)
"""Spans without overlaps of each host; some have recorded nothing."""


@given(hosts, st.data())
def test_each_part_of_a_time_has_the_share_of_who_recorded_most(
    spans: list[list[tuple[int, int]]], data: st.DataObject
) -> None:
    recorded, most = RecordedTime(), [0.0] * LENGTH
    for of_host in spans:
        seconds, before = [], sum(most)
        for start, end in of_host:
            share = data.draw(st.sampled_from((0.0, 0.5, 1.0)))
            seconds.append(share * (end - start))
            most[start:end] = [max(share, known) for known in most[start:end]]
        assert sum(recorded.add(of_host, seconds)) == sum(most) - before


def test_what_is_new_is_told_in_the_order_of_the_spans() -> None:
    recorded = RecordedTime()
    assert recorded.add([(60, 120), (0, 60)], [60, 30]) == [60, 30]
    assert recorded.add([(0, 240)], [240]) == [150]
    assert recorded.add([(0, 240), (240, 300)], [120, 6]) == [0, 6]
