"""A ticket, as the engineer of a ticket machine meets it: asked for, sold, used."""

import house as h
from ridegate.ticketing.v1 import ticketing_pb2 as v1
from ridegate.ticketing.v1.ticketing_pb2_grpc import TicketServiceStub
from ridegate.validator.v1 import validator_pb2


def check(house, number):
    """Verdict and the screen's Chinese, and the sale."""
    request = v1.CheckSaleRequest(id_number=number, location="xizhimen")
    answer = machine(house).CheckSale(request, timeout=h.PATIENCE)
    verdict = validator_pb2.Verdict.Name(answer.verdict).removeprefix("VERDICT_")
    return (verdict, answer.prompt.zh), answer.sale_id


def sold(house, sale, ticket):
    return machine(house).ReportSold(v1.ReportSoldRequest(sale_id=sale, ticket=ticket), timeout=h.PATIENCE)


def used(house, ticket):
    return machine(house).ReportUsed(v1.ReportUsedRequest(ticket=ticket), timeout=h.PATIENCE).was_open


def machine(house):
    return TicketServiceStub(house.channel("ticketing"))


def a_ticket_is_sold_once_until_it_was_used(house, number):
    said, sale = check(house, number)
    h.equals("who may buy", said, ("ALLOW", ""))
    h.holds("the sale has a name", sale and number not in sale, sale)
    for turn in ("sold", "sold, again"):
        h.equals(turn, sold(house, sale, "ticket-1"), v1.ReportSoldResponse())
    h.equals("while it is open", check(house, number), (("INSPECT", "已有未使用的车票，请先使用"), ""))
    h.equals("it was open", used(house, "ticket-1"), True)
    h.equals("it is open no more", used(house, "ticket-1"), False)
    h.equals("after it was used", check(house, number)[0], ("ALLOW", ""))


def who_may_not_ride_may_not_buy(house, overdue, nobodys):
    h.equals("an overdue buyer", check(house, overdue), (("INSPECT", "健康码异常"), ""))
    h.equals("a number nobody has", check(house, nobodys), (("INSPECT", "未查询到健康码信息，请您尽快授权升级"), ""))


def every_field_is_named(house, number):
    swapped = number[:7] + number[8] + number[7] + number[9:]
    for what, bad in [("short", number[:-1]), ("letters", "A" * 18), ("swapped digits", swapped)]:
        error = h.fails(what, lambda: check(house, bad), "INVALID_ARGUMENT", "INVALID_FIELD", "id_number")
        h.holds(f"{what}, without the number", bad not in error.details(), error.details())
    h.fails("no sale", lambda: sold(house, "", "ticket-2"), "INVALID_ARGUMENT", "INVALID_FIELD", "sale_id")
    never = "9f0c9d7e-3a5b-4c1d-8e2f-000000000000"
    h.fails("a sale that never was", lambda: sold(house, never, "ticket-2"), "NOT_FOUND", "NO_SUCH_SALE")
    h.fails("no ticket", lambda: used(house, ""), "INVALID_ARGUMENT", "INVALID_FIELD", "ticket")


def a_machine_that_guesses_is_told_to_wait(house):
    fifty = lambda: [guess(house) for _ in range(50)]
    error = h.fails("fifty guesses", fifty, "RESOURCE_EXHAUSTED", "OVER_QUOTA")
    details = h.details_of(error)
    h.holds("come again later", details["retry_info"].retry_delay.ToTimedelta().total_seconds() > 0)
    subjects = [one.subject for one in details["quota_failure"].violations]
    h.equals("whose quota", subjects, ["device:bjsubway:window-1"])


def guess(house):
    """Asks about what is no number, and is told so, unless it is told something else."""
    try:
        check(house, "guess")
    except h.grpc.RpcError as error:
        if error.code() != h.grpc.StatusCode.INVALID_ARGUMENT:
            raise


def program(house):
    buyer, overdue, nobodys = house.facts["id_numbers"]
    a_ticket_is_sold_once_until_it_was_used(house, buyer)
    who_may_not_ride_may_not_buy(house, overdue, nobodys)
    every_field_is_named(house, buyer)
    a_machine_that_guesses_is_told_to_wait(house)


h.main(program)
