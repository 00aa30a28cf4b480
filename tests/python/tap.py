"""Taps, as a gate's engineer meets them: verdicts, retries, replays, bad fields, timing, what staff decided."""

import re

import house as h
import taps
from taps import said, tap, v1


def a_tap_is_retried_and_not_replayed(house):
    code = house.code("healthy")
    first = tap(house, "one", code)
    h.equals("a healthy rider", said(first), "ALLOW HEALTH_OK")
    h.equals("its request", first.request_id, "one")
    h.equals("its partner", first.partner, "yikatong")
    h.equals("it repeats", first.retry_of, "")
    h.holds("its verdict has a UUID of version 7", is_verdict_id(first.verdict_id), first.verdict_id)
    h.equals("the policy", first.policy_version, "beijing-2022/1")
    h.holds("it says how old the facts are", first.HasField("evidence_age"))
    h.holds("nothing was missing", not first.HasField("degraded"))
    h.equals("the screen", (first.prompt.zh, first.prompt.en), ("", ""))

    again = tap(house, "one", code)
    h.equals("the same request again", (said(again), again.retry_of), ("ALLOW HEALTH_OK", first.verdict_id))
    h.holds("its verdict has an id of its own", again.verdict_id not in ("", first.verdict_id), again.verdict_id)
    twice = tap(house, "two", code)
    h.equals("the same reader reads twice", (said(twice), twice.retry_of), ("ALLOW HEALTH_OK", first.verdict_id))
    for request_id in ("one", "three"):
        elsewhere = tap(house, request_id, code, "second_validator")
        h.equals("the same code at another gate", (said(elsewhere), elsewhere.retry_of), ("INSPECT CODE_REPLAYED", ""))
        h.equals("whose code it is", elsewhere.partner, "yikatong")


def whatever_a_rider_shows_gets_an_answer(house):
    for what, code, expected in [
        ("an overdue rider", house.code("overdue"), "INSPECT HEALTH"),
        ("an unlinked rider", house.code("unlinked"), "INSPECT NOT_LINKED"),
        ("an expired code", house.code("expired"), "INSPECT CODE_EXPIRED"),
        ("something else", b"https://example.cn/", "INSPECT CODE_UNRECOGNIZED"),
        ("nothing", b"", "INSPECT CODE_UNRECOGNIZED"),
        ("a code cut short", house.code("healthy")[:-1], "INSPECT CODE_MALFORMED"),
        ("a code with another signature", forged(house.code("healthy")), "INSPECT CODE_UNTRUSTED"),
    ]:
        answer = tap(house, "shown", code)
        h.equals(what, said(answer), expected)
        h.holds(f"{what}, the screen in Chinese", re.search("[\u4e00-\u9fff]", answer.prompt.zh), answer.prompt.zh)
        h.holds(f"{what}, the screen in English", answer.prompt.en.isascii() and answer.prompt.en, answer.prompt.en)


def forged(code):
    return code[:-1] + bytes([code[-1] ^ 1])


def a_card_is_tapped(house):
    check = lambda request: taps.validator(house).Check(request, timeout=h.PATIENCE)
    yikatong, bank = v1.CARD_KIND_YIKATONG_CARD, v1.CARD_KIND_UNIONPAY_BANK_CARD
    for request_id in ("card", "card"):
        answer = check(taps.card_request(request_id, yikatong, "1000751112345678", "01001000"))
        h.equals("a linked card", (said(answer), answer.partner, answer.retry_of), ("ALLOW HEALTH_OK", "yikatong", ""))
    answer = check(taps.card_request("card", yikatong, "1000751112345679", "01001000"))
    h.equals("another", said(answer), "INSPECT NOT_LINKED")
    answer = check(taps.card_request("card", bank))
    h.equals("a bank card", (said(answer), answer.partner), ("INSPECT MEDIUM_UNSUPPORTED", ""))
    h.holds("another way in", "乘车码" in answer.prompt.zh and "ride code" in answer.prompt.en, answer.prompt)
    for field, bad in [
        ("card.kind", taps.card_request("bad", v1.CARD_KIND_UNSPECIFIED, "777", "01001000")),
        ("card.kind", taps.card_request("bad", 77, "777", "01001000")),
        ("card.number", taps.card_request("bad", yikatong, "777-777", "01001000")),
        ("card.issuer", taps.card_request("bad", yikatong, "777", "777")),
    ]:
        error = h.fails(f"a card, bad {field}", lambda: check(bad), "INVALID_ARGUMENT", "INVALID_FIELD", field)
        h.holds("it tells no value", "777" not in error.details())


def every_field_is_named(house):
    check = taps.validator(house).Check
    code = house.code("healthy")
    for field, request in [
        ("request_id", taps.request("", code)),
        ("request_id", taps.request("x" * 65, code)),
        ("qr_code", taps.request("bad", bytes([0x81]) * 4097)),
        ("medium", v1.CheckRequest(request_id="bad", direction=v1.DIRECTION_ENTRY)),
        ("direction", taps.request("bad", code, direction=v1.DIRECTION_UNSPECIFIED)),
        ("direction", taps.request("bad", code, direction=77)),
        ("location", taps.request("bad", code, location="x" * 65)),
        ("device_id", taps.request("bad", code, device_id="x" * 65)),
    ]:
        error = h.fails(f"a tap, bad {field}", lambda: check(request, timeout=h.PATIENCE), "INVALID_ARGUMENT",
                        "INVALID_FIELD", field)
        h.holds("it tells no value", "xxx" not in error.details() and code.hex() not in error.details())
    h.equals("the code was not used up", said(tap(house, "good", code)), "ALLOW HEALTH_OK")


def stages_are_timed_for_who_asks(house):
    check = taps.validator(house).Check
    for wants, expected in [
        ([], None),
        ([("x-ridegate-timing", "1")], "recognise quota accept turn verify claim link facts policy total".split()),
    ]:
        request = taps.request(f"timed-{len(wants)}", house.code("healthy"))
        answer, call = check.with_call(request, metadata=wants, timeout=h.PATIENCE)
        h.equals("a healthy rider", said(answer), "ALLOW HEALTH_OK")
        timing = dict(call.initial_metadata()).get("server-timing")
        stages = timing and [stage.split(";dur=") for stage in timing.split(", ")]
        h.equals("the stages", stages and [name for name, _ in stages], expected)
        if stages:
            took = [float(took) for _, took in stages]
            h.holds("all are times", min(took) >= 0, took)
            # Each is rounded to a microsecond.
            h.holds("the total is all of them", took[-1] >= sum(took[:-1]) - 0.01, took)


def staff_report_what_they_decided(house):
    report = taps.validator(house).ReportInspection
    looked = tap(house, "looked", house.code("overdue"))
    message = lambda verdict_id, outcome: v1.ReportInspectionRequest(verdict_id=verdict_id, outcome=outcome)
    passed = v1.INSPECTION_OUTCOME_PASSED
    answer = report(message(looked.verdict_id, passed), timeout=h.PATIENCE)
    h.holds("a report is taken", answer == v1.ReportInspectionResponse(), answer)
    for field, bad in [("verdict_id", message("looked", passed)), ("outcome", message(looked.verdict_id, 0))]:
        h.fails(f"a report, bad {field}", lambda: report(bad, timeout=h.PATIENCE), "INVALID_ARGUMENT",
                "INVALID_FIELD", field)


def is_verdict_id(text):
    return re.fullmatch("[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", text) is not None


def program(house):
    a_tap_is_retried_and_not_replayed(house)
    whatever_a_rider_shows_gets_an_answer(house)
    a_card_is_tapped(house)
    every_field_is_named(house)
    stages_are_timed_for_who_asks(house)
    staff_report_what_they_decided(house)


h.main(program)
