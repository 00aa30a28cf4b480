"""Who may call what: every role against every call."""

import grpc
import house as h
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub
from ridegate.partner.v1 import partner_pb2 as p1
from ridegate.partner.v1.partner_pb2_grpc import PartnerServiceStub
from ridegate.ticketing.v1 import ticketing_pb2 as t1
from ridegate.ticketing.v1.ticketing_pb2_grpc import TicketServiceStub
from ridegate.validator.v1 import validator_pb2 as v1
from ridegate.validator.v1.validator_pb2_grpc import ValidatorServiceStub

CALLS = {
    "Check": lambda channel: ValidatorServiceStub(channel).Check(v1.CheckRequest()),
    "CheckStream": lambda channel: next(ValidatorServiceStub(channel).CheckStream(iter([v1.CheckRequest()]))),
    "ReportInspection": lambda channel: ValidatorServiceStub(channel).ReportInspection(v1.ReportInspectionRequest()),
    "LinkRider": lambda channel: PartnerServiceStub(channel).LinkRider(p1.LinkRiderRequest()),
    "UnlinkRider": lambda channel: PartnerServiceStub(channel).UnlinkRider(p1.UnlinkRiderRequest()),
    "GetLink": lambda channel: PartnerServiceStub(channel).GetLink(p1.GetLinkRequest()),
    "CheckSale": lambda channel: TicketServiceStub(channel).CheckSale(t1.CheckSaleRequest()),
    "ReportSold": lambda channel: TicketServiceStub(channel).ReportSold(t1.ReportSoldRequest()),
    "ReportUsed": lambda channel: TicketServiceStub(channel).ReportUsed(t1.ReportUsedRequest()),
}
VALIDATORS = {"Check", "CheckStream", "ReportInspection"}
PARTNERS = {"LinkRider", "UnlinkRider", "GetLink"}
WINDOWS = {"CheckSale", "ReportSold", "ReportUsed"}

# Who may call what, and what everybody else is told.
ROLES = {
    "validator": (VALIDATORS, "PERMISSION_DENIED WRONG_ROLE"),
    "second_validator": (VALIDATORS, "PERMISSION_DENIED WRONG_ROLE"),
    "partner": (PARTNERS, "PERMISSION_DENIED WRONG_ROLE"),
    "other_partner": (PARTNERS, "PERMISSION_DENIED WRONG_ROLE"),
    "ticketing": (WINDOWS, "PERMISSION_DENIED WRONG_ROLE"),
    "operator": (set(), "PERMISSION_DENIED WRONG_ROLE"),
    "unknown": (set(), "PERMISSION_DENIED UNKNOWN_IDENTITY"),
    "nobody": (set(), "UNAUTHENTICATED NO_IDENTITY"),
}


def came_to(call, channel):
    """Calls with an empty message: who may call is told which field is missing, who may not is told that."""
    try:
        return f"an answer: {call(channel)!r}"
    except grpc.RpcError as error:
        details = h.details_of(error)
        if error.code() == grpc.StatusCode.INVALID_ARGUMENT and details["bad_request"].field_violations:
            return "let in"
        return f"{error.code().name} {details['error_info'].reason}"


def program(house):
    h.holds("every caller has a role", set(house.facts["callers"]) | {"nobody"} == set(ROLES))
    for role, (may, otherwise) in ROLES.items():
        channel = house.channel(role)
        for name, call in CALLS.items():
            h.equals(f"{role} {name}", came_to(call, channel), "let in" if name in may else otherwise)
        health = HealthStub(channel).Check(HealthCheckRequest(), timeout=h.PATIENCE)
        h.holds(f"{role} Health", health.status == HealthCheckResponse.SERVING, health)


h.main(program)
