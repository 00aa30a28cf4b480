"""The health authority takes every question and answers none: deadlines hold all the same.

It prints `answer again` when it has seen enough; then the authority answers.
"""

import grpc
import house as h
import links
import taps
from taps import v1

# How long a gate waits for a tap, in seconds; the gateway gives a verdict 150 ms.
GATE_WAITS = 0.4


def a_gate_gets_an_answer_in_time(house):
    check = taps.validator(house).Check
    causes = set()
    while house.codes["healthy"]:
        request = taps.request(f"tap-{len(house.codes['healthy'])}", house.code("healthy"))
        answer = check(request, timeout=GATE_WAITS)
        h.equals("a tap, in time", taps.said(answer), "INSPECT LOOKUP_FAILED")
        h.holds("the screen says so", answer.prompt.zh and answer.prompt.en)
        causes.add(v1.DegradedCause.Name(answer.degraded.cause))
    h.holds("the authority was missing", "DEGRADED_CAUSE_AUTHORITY" in causes, causes)


def a_partner_is_told_that_time_is_over(house, rider):
    message = links.request(house, rider)
    h.fails("a link in 200 ms", lambda: links.link(house, message, timeout=0.2), "DEADLINE_EXCEEDED")
    # Who sets no deadline gets the gateway's own; that it is over only the gateway can have said.
    h.fails("a link without a deadline", lambda: links.link(house, message, timeout=None), "DEADLINE_EXCEEDED",
            "DEADLINE_EXCEEDED")
    print("answer again", flush=True)
    h.equals("the same request again", links.link(house, message), ("LINKED", []))
    h.holds("the rider is linked", links.get(house, rider) is not None)


def program(house):
    # The first call's deadline is not for the handshake.
    grpc.channel_ready_future(house.channel("validator")).result(timeout=h.PATIENCE)
    a_gate_gets_an_answer_in_time(house)
    a_partner_is_told_that_time_is_over(house, house.to_link[0])


h.main(program)
