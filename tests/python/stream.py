"""A station computer's stream."""

import queue

import grpc
import house as h
import taps

EXPECT = {"healthy": "ALLOW HEALTH_OK", "overdue": "INSPECT HEALTH", "unlinked": "INSPECT NOT_LINKED"}


def every_message_is_answered_under_its_own_id(house):
    turns = min(len(house.codes[kind]) for kind in EXPECT)
    names = [f"{kind}/{turn}" for turn in range(turns) for kind in EXPECT]
    messages = [taps.request(name, house.code(name.split("/")[0]), device_id=name) for name in names]
    h.holds("at least 100 messages", len(messages) >= 100, len(messages))
    answers = list(taps.validator(house).CheckStream(iter(messages), timeout=h.PATIENCE))
    h.equals("as many answers", len(answers), len(messages))
    h.holds("one for each id", {answer.request_id for answer in answers} == set(names))
    h.equals("each with an id of its own", len({answer.verdict_id for answer in answers}), len(answers))
    for kind, expected in EXPECT.items():
        told = {taps.said(answer) for answer in answers if answer.request_id.startswith(kind)}
        h.equals(f"all that are {kind}", told, {expected})


def a_gate_does_not_wait_for_the_next_tap(house):
    messages = queue.SimpleQueue()
    answers = taps.validator(house).CheckStream(iter(messages.get, None), timeout=h.PATIENCE)
    for turn in range(3):
        messages.put(taps.request(f"turn-{turn}", house.code("single")))
        answer = next(answers)
        h.equals("answered before the next", answer.request_id, f"turn-{turn}")
        h.equals("and", taps.said(answer), "ALLOW HEALTH_OK")
    messages.put(None)
    h.equals("the stream ends", list(answers), [])
    h.equals("as it should", answers.code(), grpc.StatusCode.OK)


def a_bad_message_ends_it_after_those_before(house):
    good = [taps.request(f"good-{turn}", house.code("single")) for turn in range(3)]
    bad = taps.request("bad", b"", direction=0)
    answers = taps.validator(house).CheckStream(iter(good + [bad]), timeout=h.PATIENCE)
    told = []
    h.fails("a bad message", lambda: collect(answers, told), "INVALID_ARGUMENT", "INVALID_FIELD", "direction")
    h.equals("those before it were answered", sorted(told), ["good-0", "good-1", "good-2"])


def collect(answers, told):
    for answer in answers:
        told.append(answer.request_id)


def program(house):
    every_message_is_answered_under_its_own_id(house)
    a_gate_does_not_wait_for_the_next_tap(house)
    a_bad_message_ends_it_after_those_before(house)


h.main(program)
