"""What balancers and operators ask. It prints `watching` when the health authority should go away."""

import house as h
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthStub

Status = health_pb2.HealthCheckResponse.ServingStatus
SERVICES = [
    "",
    "liveness",
    "readiness",
    "ridegate.validator.v1.ValidatorService",
    "ridegate.partner.v1.PartnerService",
    "ridegate.ticketing.v1.TicketService",
    "dependency/registry",
    "dependency/authority",
]


def asked(service):
    return health_pb2.HealthCheckRequest(service=service)


def check(stub, service):
    """The status of a service, by name."""
    return Status.Name(stub.Check(asked(service), timeout=h.PATIENCE).status)


def watch(stub, service):
    """The statuses of a service, by name, as they come."""
    for answer in stub.Watch(asked(service), timeout=h.PATIENCE):
        yield Status.Name(answer.status)


def wait_for(statuses, wanted):
    """The first status that is the wanted one."""
    return next(status for status in statuses if status == wanted)


def program(house):
    stub = HealthStub(house.channel("operator"))
    authority, readiness = watch(stub, "dependency/authority"), watch(stub, "readiness")
    h.equals("the authority is followed", wait_for(authority, "SERVING"), "SERVING")
    h.equals("readiness is watched", wait_for(readiness, "SERVING"), "SERVING")
    for service in SERVICES:
        h.equals(f"{service!r}", check(stub, service), "SERVING")
    h.fails("a service nobody knows", lambda: check(stub, "no-such-service"), "NOT_FOUND")

    print("watching", flush=True)
    h.equals("the authority is away", next(authority), "NOT_SERVING")
    for service in SERVICES[:-1]:
        h.equals(f"{service!r}, still", check(stub, service), "SERVING")
    h.equals("the authority", check(stub, "dependency/authority"), "NOT_SERVING")


h.main(program)
