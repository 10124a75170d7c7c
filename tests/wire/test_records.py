from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from toolhouse_async import JobToken, StoreError
from toolhouse_async._wire import records
from toolhouse_async._wire.records import MOST_HEARD, MOST_SAID, VERSION, Later, Record, Row, Unsettled, Waiter
from toolhouse_async._wire.stage import Stage

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
IDS = st.from_regex(r"[A-Za-z0-9_-]{1,128}", fullmatch=True)
TIMES = st.floats(0, 1e10)
COUNTS = st.integers(0, 2**53)
UNSETTLED = st.builds(Unsettled, st.none() | TEXT, *[st.booleans()] * 3, st.sampled_from(Stage))
HEARD = st.lists(st.tuples(COUNTS, TEXT), max_size=4).map(tuple)
LATER = st.lists(st.builds(Later, TEXT, st.booleans(), st.none() | HEARD), max_size=4).map(tuple)
TOKENS = st.builds(
    JobToken, IDS, IDS, st.from_regex(r"[!-~]{1,256}", fullmatch=True), TIMES, st.sampled_from(["ndjson", "text"])
)
RECORDS = st.builds(
    Record,
    run_id=st.none() | IDS,
    nameless=st.booleans(),
    token=st.none() | TOKENS,
    unsettled=st.none() | UNSETTLED,
    said=st.none() | st.dictionaries(TEXT, COUNTS, max_size=5),
    heard=st.none() | HEARD,
    holder=TEXT,
    who=TEXT,
    until=TIMES,
    length=TIMES,
    idle_since=TIMES,
    queue=st.lists(st.builds(Waiter, TEXT, TIMES), max_size=4).map(tuple),
    since=LATER,
)


@given(RECORDS)
def test_a_record_is_read_as_it_was_written(record: Record) -> None:
    known = record if record.said is not None else record._replace(since=())  # order alone says nothing
    assert records.loads(records.dumps(record)) == known


def test_no_entry_is_a_record_of_nothing() -> None:
    assert records.loads(None) == Record()


@pytest.mark.parametrize(
    "said",
    [
        {"holder": "n"},
        {"queue": (Waiter("n", 1.0),)},
        {"run_id": "r"},
        {"nameless": True},
        {"token": JobToken("a", "r", "j", 1.0)},
        {"unsettled": Unsettled(None, *[False] * 3, Stage.MESSAGE)},
        {"said": None},
        {"heard": None},
        {"since": (Later("x", False, None),)},
        {"row": Row("digest", "open", "")},
    ],
)
def test_a_record_that_says_nothing_has_no_entry(said: dict[str, Any]) -> None:
    free = Record(until=7.0, idle_since=7.0)
    assert records.dumps_unless_empty(free) is None
    record = free._replace(**said)
    assert records.dumps_unless_empty(record) == records.dumps(record)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_record_or_an_error(data: bytes) -> None:
    with pytest.raises(StoreError, match="forget"):
        records.loads(data)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda each: st.lists(each, max_size=4) | st.dictionaries(TEXT, each, max_size=4),
    max_leaves=6,
)


@given(RECORDS, st.data())
def test_a_record_with_something_else_in_it_is_one_or_an_error(record: Record, data: st.DataObject) -> None:
    written = json.loads(records.dumps(record))
    name = data.draw(st.sampled_from([*sorted(written), "more"]))
    if data.draw(st.booleans()):
        written[name] = data.draw(JSON)
    else:
        written.pop(name, None)
    try:
        read = records.loads(json.dumps(written).encode())
    except StoreError:
        return
    assert records.loads(records.dumps(read)) == read


@pytest.mark.parametrize("version", [0, VERSION - 1, VERSION + 1, str(VERSION), None, [VERSION]])
def test_another_version_is_named(version: Any) -> None:
    written = json.loads(records.dumps(Record())) | {"v": version}
    with pytest.raises(StoreError, match="version"):
        records.loads(json.dumps(written).encode())


@pytest.mark.parametrize(
    "wrong",
    [
        {"until": -1},
        {"until": 1e12},
        {"until": "1"},
        {"until": True},
        {"said": {"x": -1}},
        {"said": {"x": True}},
        {"said": []},
        {"queue": [["a"]]},
        {"unsettled": ["x", True, True, False, "NO_STAGE"]},
        {"queue": [[1, 1]]},
        {"run_id": "../x"},
        {"token": "{}"},
        {"unsettled": []},
        {"unsettled": ["x", True, True, True]},
        {"unsettled": [1, True, True, True, "x"]},
        {"unsettled": ["x", True, True, True, 1]},
        {"heard": [["x", 1]]},
        {"heard": [[-1, "x"]]},
        {"heard": [1]},
        {"heard": {}},
        {"since": [["x", True]]},
        {"since": [["x", 1, None]]},
        {"since": [["x", True, [[1]]]]},
        {"since": {}},
        {"more": 1},
    ],
    ids=repr,
)
def test_what_a_record_cannot_hold(wrong: Any) -> None:
    written = json.loads(records.dumps(Record())) | wrong
    with pytest.raises(StoreError, match="cannot be read"):
        records.loads(json.dumps(written).encode())


def test_what_a_record_holds_is_not_quoted() -> None:
    written = json.loads(records.dumps(Record())) | {"unsettled": [["Swordfish"], True, True, True, "SENDING"]}
    with pytest.raises(StoreError, match="a list in place of a str") as caught:
        records.loads(json.dumps(written).encode())
    assert "Swordfish" not in str(caught.value)


def test_what_was_said_is_not_counted_without_end() -> None:
    said = {str(number): 1 for number in range(MOST_SAID)}
    assert records.loads(records.dumps(Record(said=said))).said == said
    assert records.loads(records.dumps(Record(said={**said, "more": 1}))).said is None
    said.popitem()
    since = (Later("x", False, None),)
    assert records.loads(records.dumps(Record(said=said, since=since)))[4:7] == (said, (), since)
    read = records.loads(records.dumps(Record(said=said, since=since * 2)))
    assert read[4:7] == (None, (), ())


def test_what_was_heard_is_not_kept_without_end() -> None:
    heard = tuple((number, "k") for number in range(MOST_HEARD))
    assert records.loads(records.dumps(Record(heard=heard))).heard == heard
    assert records.loads(records.dumps(Record(heard=(*heard, (1, "k"))))).heard is None


def test_a_key_with_no_conversation_has_neither_said_nor_heard_anything() -> None:
    unsettled = Unsettled("x", bars=True, told=False, resumes=False, stage=Stage.ANSWER)
    record = Record(
        "r1",
        True,
        JobToken("a", "r1", "j1", 0),
        unsettled,
        {"x": 1},
        ((1, "k"),),
        (Later("x", False, None),),
        holder="h",
        until=5.0,
    )
    anew = record.begun_anew()
    assert anew == Record(holder="h", until=5.0)
    assert anew.is_like(Record())
    assert not anew.is_like(record)


class Clients(RuleBasedStateMachine):
    """Several claim one key, each by the entry as it knows it, and change it only where that still stands."""

    @initialize()
    def begin(self) -> None:
        self.now = 0.0
        self.entry = records.dumps(Record())
        self.order: list[str] = []
        self.written = 0

    @property
    def record(self) -> Record:
        return records.loads(self.entry)

    @property
    def holder(self) -> str:
        """Who has a lease that has not ended."""
        return self.record.holder if self.record.until > self.now else ""

    @rule(seconds=st.floats(0, 20))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(number=st.sampled_from("abcd"))
    def claim(self, number: str) -> None:
        before, holder = self.record, self.holder
        waiting = [waiter.number for waiter in before.queue if waiter.until > self.now]
        after = records.claimed(before, number, self.now, who=number, length=30)
        self.entry = records.dumps(after)
        if holder and holder != number:
            assert after.holder == holder
        elif before.holder != number:
            assert (after.holder == number) is (not waiting or waiting[0] == number)
        assert (after.holder == number) is not (number in [waiter.number for waiter in after.queue])
        assert after.is_like(before)

    @rule(number=st.sampled_from("abcd"))
    def renew(self, number: str) -> None:
        if self.record.holder == number:
            self.entry = records.dumps(records.renewed(self.record, self.now))
            assert self.holder == number

    @rule(number=st.sampled_from("abcd"))
    def let_go(self, number: str) -> None:
        if self.record.holder == number:
            self.entry = records.dumps(records.released(self.record, self.now))
            assert not self.holder

    @rule(number=st.sampled_from("abcd"))
    def give_up(self, number: str) -> None:
        before = self.record
        after = records.abandoned(before, number, self.now)
        self.entry = records.dumps(after)
        assert number not in [after.holder, *(waiter.number for waiter in after.queue)]
        if before.holder != number:
            assert after.holder == before.holder

    @rule()
    def unlock(self) -> None:
        self.entry = records.dumps(records.unlocked(self.record, self.now))
        assert (self.holder, self.record.queue) == ("", ())

    @rule(number=st.sampled_from("abcd"))
    def take_over(self, number: str) -> None:
        """From one who is known to have failed."""
        before = records.abandoned(self.record, number, self.now)
        if not [waiter for waiter in before.queue if waiter.until > self.now]:
            after = records.claimed(before, number, self.now, who=number, length=30, is_stale=True)
            assert after.holder == number
            self.entry = records.dumps(after)

    @invariant()
    def nobody_waits_twice(self) -> None:
        if hasattr(self, "entry"):
            numbers = [waiter.number for waiter in self.record.queue]
            assert len(numbers) == len(set(numbers))
            assert self.record.holder not in numbers or not self.record.holder


TestClients = Clients.TestCase


def test_what_a_claim_writes_down() -> None:
    first = records.claimed(Record(until=90.0), "a", 100, who="host:1", length=30)
    assert first == Record(holder="a", who="host:1", until=130.0, length=30.0, idle_since=90.0)
    queued = records.claimed(first, "b", 101, who="host:2", length=60)
    assert queued == first._replace(queue=(Waiter("b", 121.0),))
    again = records.claimed(queued, "b", 102, who="host:2", length=60)
    assert again == first._replace(queue=(Waiter("b", 122.0),))
    behind = records.claimed(again, "c", 103, who="host:3", length=60)
    assert behind == first._replace(queue=(Waiter("b", 122.0), Waiter("c", 123.0)))
    later = records.claimed(behind, "a", 110, who="host:1", length=45)
    assert later == first._replace(until=155.0, length=45.0, queue=behind.queue)
    taken = records.claimed(records.released(later, 120), "b", 121, who="host:2", length=60)
    assert taken == Record(
        holder="b", who="host:2", until=181.0, length=60.0, idle_since=120.0, queue=(Waiter("c", 123.0),)
    )


def test_a_place_in_the_queue_is_lost_when_its_time_is_over() -> None:
    held = Record(holder="a", until=1000.0, length=30.0, queue=(Waiter("b", 110.0), Waiter("c", 140.0)))
    assert records.claimed(held, "a", 109, who="", length=31).queue == held.queue
    assert records.claimed(held, "a", 110, who="", length=30).queue == (Waiter("c", 140.0),)
    assert records.claimed(held, "a", 109, who="", length=30).queue == (Waiter("b", 110.0),)  # c's is too far away


def test_who_lets_go_leaves_nothing_but_the_time() -> None:
    queue = (Waiter("b", 110.0),)
    held = Record(run_id="r", holder="a", who="host:1", until=130.0, length=30.0, idle_since=7.0, queue=queue)
    assert records.released(held, 105.0) == Record(run_id="r", until=105.0, idle_since=7.0, queue=queue)


@pytest.mark.parametrize(("now", "is_free"), [(129.9, False), (130.0, True)])
def test_a_key_is_free_when_its_lease_is_over(now: float, is_free: bool) -> None:
    held = Record(holder="a", until=130.0)
    assert records.is_free(held, now, is_stale=False) is is_free
    assert records.is_free(held, now, is_stale=True)
    assert records.is_free(Record(until=130.0), now, is_stale=False)


def test_a_place_from_before_the_clock_was_set_back_is_not_kept() -> None:
    held = records.claimed(Record(), "a", 5000, who="a", length=30)
    queued = records.claimed(held, "b", 5001, who="b", length=30)
    assert [waiter.number for waiter in queued.queue] == ["b"]
    later = records.claimed(records.released(queued, 1000), "c", 1001, who="c", length=30)
    assert later.holder == "c"


def test_how_long_a_key_was_idle() -> None:
    record = records.claimed(Record(), "a", 100, who="a", length=30)
    record = records.released(record, 110)
    record = records.claimed(record, "b", 150, who="b", length=30)
    assert record.idle_since == 110
    record = records.claimed(record, "c", 200, who="c", length=30)  # b has failed: its lease ended at 180
    assert (record.holder, record.idle_since) == ("c", 180)
    assert records.abandoned(record, "c", 201).until == 180
