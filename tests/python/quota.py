"""Over quota: who may say when to come again does, and one partner's flood is nobody else's."""

import time

import house as h
import links
import taps


def calls_are_told_when_to_come_again(house):
    rider = house.to_link[0]
    fifty = lambda: [links.get(house, rider) for _ in range(50)]
    error = h.fails("fifty calls at once", fifty, "RESOURCE_EXHAUSTED", "OVER_QUOTA")
    details = h.details_of(error)
    delay = details["retry_info"].retry_delay.ToTimedelta().total_seconds()
    h.holds("come again soon", 0 < delay <= 1, delay)
    violations = [(one.subject, one.description) for one in details["quota_failure"].violations]
    h.equals("whose quota", violations, [("partner:yikatong", "calls of this partner")])
    trailers = dict(error.trailing_metadata())
    limits = [trailers[f"ratelimit-{name}"] for name in ("limit", "remaining", "reset")]
    h.equals("limit, remaining, reset", limits, ["3", "0", "1"])
    h.equals("another partner", links.get(house, rider, "other_partner"), None)
    time.sleep(delay)
    h.equals("come again", links.get(house, rider), None)


def codes_are_throttled_and_another_partners_are_not(house):
    kept, told = until_throttled(house)
    h.holds("all before were decided", set(told) <= {"ALLOW HEALTH_OK"} and told, told)
    answer = taps.tap(house, "others", house.code("others"))
    h.equals("another partner's code", (taps.said(answer), answer.partner), ("ALLOW HEALTH_OK", "alipay"))
    for turn in range(200):
        answer = taps.tap(house, f"later-{turn}", kept, "second_validator")
        if taps.said(answer) != "INSPECT THROTTLED":
            break
        time.sleep(0.05)
    h.equals("the code that was throttled, later and elsewhere", taps.said(answer), "ALLOW HEALTH_OK")
    h.equals("it repeats", answer.retry_of, "")


def until_throttled(house):
    """The first code that is throttled, and what was said of those before it."""
    told = []
    while house.codes["healthy"]:
        code = house.code("healthy")
        answer = taps.tap(house, f"flood-{len(told)}", code)
        if taps.said(answer) == "INSPECT THROTTLED":
            h.equals("a code over budget", answer.partner, "yikatong")
            h.holds("the screen says so", answer.prompt.zh and answer.prompt.en)
            return code, told
        told.append(taps.said(answer))
    raise AssertionError(f"never throttled in {len(told)} taps")


def program(house):
    calls_are_told_when_to_come_again(house)
    codes_are_throttled_and_another_partners_are_not(house)


h.main(program)
