"""A client that knows nothing but the address: the contract comes from reflection, messages are made as it says.

No stubs here. `reflection` in the house's file says whether the gateway tells its contract.
"""

import sys
import tempfile
from pathlib import Path

import grpc_tools
import house as h
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from grpc_tools import protoc

SERVICES = [
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
    "ridegate.partner.v1.PartnerService",
    "ridegate.ticketing.v1.TicketService",
    "ridegate.validator.v1.ValidatorService",
]
FILES = [f"ridegate/{audience}/v1/{audience}.proto" for audience in ("partner", "ticketing", "validator")]


def ask(channel, version):
    """The call that tells the contract. Both versions have the same messages; only the service's name differs."""
    return channel.stream_stream(
        f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )


class Told(ProtoReflectionDescriptorDatabase):
    """What reflection of this version tells."""

    def __init__(self, channel, version):
        super().__init__(channel)
        self._stub.ServerReflectionInfo = ask(channel, version)


def the_contract_is_told(house, version):
    told = Told(house.channel("validator"), version)
    h.equals(f"{version}: the services", sorted(told.get_services()), SERVICES)
    for name in FILES:
        described = told.FindFileByName(name)
        # The comments; compiled without.
        described.ClearField("source_code_info")
        h.holds(f"{version}: {name} as it is written", described == compiled(house.facts["protos"], name))
    a_tap_is_made_of_it(house, version, descriptor_pool.DescriptorPool(told))


def compiled(protos, name):
    """What a .proto file says."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "out")
        well_known = Path(grpc_tools.__file__).parent / "_proto"
        done = protoc.main(["protoc", f"-I{protos}", f"-I{well_known}", f"--descriptor_set_out={out}", name])
        h.equals(f"{name} compiles", done, 0)
        return descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes()).file[0]


def a_tap_is_made_of_it(house, version, pool):
    check = pool.FindServiceByName("ridegate.validator.v1.ValidatorService").FindMethodByName("Check")
    request, response = (message_factory.GetMessageClass(kind) for kind in (check.input_type, check.output_type))
    call = house.channel("validator").unary_unary(
        f"/{check.containing_service.full_name}/{check.name}",
        request_serializer=request.SerializeToString,
        response_deserializer=response.FromString,
    )
    way_in = number(check.input_type, "direction", "DIRECTION_ENTRY")
    tap = request(request_id=f"dynamic-{version}", qr_code=house.code("healthy"), direction=way_in)
    answer = call(tap, timeout=h.PATIENCE)
    h.equals(f"{version}: the answer is to this request", answer.request_id, tap.request_id)
    h.equals(f"{version}: ALLOW", answer.verdict, number(check.output_type, "verdict", "VERDICT_ALLOW"))
    h.equals(f"{version}: HEALTH_OK", answer.reason, number(check.output_type, "reason", "REASON_HEALTH_OK"))


def number(message, field, value):
    """The number of an enum's value."""
    return message.fields_by_name[field].enum_type.values_by_name[value].number


def nothing_is_told(house, version):
    question = reflection_pb2.ServerReflectionRequest(list_services="")
    call = ask(house.channel("validator"), version)
    h.fails(f"{version}: nothing is told", lambda: next(call(iter([question]), timeout=h.PATIENCE)), "UNIMPLEMENTED")


def program(house):
    for version in ("v1", "v1alpha"):
        (the_contract_is_told if house.facts["reflection"] else nothing_is_told)(house, version)
    h.holds("no stubs were used", not [name for name in sys.modules if name.startswith("ridegate")])


h.main(program)
