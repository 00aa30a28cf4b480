"""A partner's resolver, as a partner would write it: `ridegate.resolver.v1.CodeResolver` over mutual TLS.

Told besides: server (certificate, key), calls (how many it answers before it ends), and account.
"""

import threading
from concurrent import futures

import grpc
from google.protobuf.timestamp_pb2 import Timestamp
from house import PATIENCE, equals, holds, main, pem
from ridegate.resolver.v1 import resolver_pb2 as v1
from ridegate.resolver.v1 import resolver_pb2_grpc as rpc

LIVES = 60


class Resolver(rpc.CodeResolverServicer):
    """Knows codes by what comes after their beginning."""

    def __init__(self, house):
        self.house = house
        # The times are the code's: whenever it is asked about, they are the same.
        self.made = int(house.now.timestamp())
        self.asked = []
        self.remaining = []
        self.enough = threading.Event()

    def Resolve(self, request, context):
        self.asked.append(request.code.removeprefix(b"YTX1:").decode())
        self.remaining.append(context.time_remaining())
        if len(self.asked) == self.house.facts["calls"]:
            self.enough.set()
        return self.answer(self.asked[-1], context)

    def answer(self, code, context):
        match code:
            case "good":
                return v1.ResolveResponse(code=self.good())
            case "expired":
                return v1.ResolveResponse(refusal=v1.REFUSAL_EXPIRED)
            case "revoked":
                return v1.ResolveResponse(refusal=v1.REFUSAL_REVOKED)
            case "says nothing":
                return v1.ResolveResponse()
            case "raises":
                raise RuntimeError("a partner's own mistake")
        context.abort(grpc.StatusCode.NOT_FOUND, "not one of ours")

    def good(self):
        return v1.ResolvedCode(
            account=self.house.facts["account"],
            code_id="good-1",
            generated_at=Timestamp(seconds=self.made),
            expires_at=Timestamp(seconds=self.made + LIVES),
        )


def program(house):
    files = house.facts["server"]
    credentials = grpc.ssl_server_credentials(
        [(pem(files["key"]), pem(files["certificate"]))],
        root_certificates=pem(house.facts["ca"]),
        require_client_auth=True,
    )
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=4))
    resolver = Resolver(house)
    rpc.add_CodeResolverServicer_to_server(resolver, server)
    port = server.add_secure_port("127.0.0.1:0", credentials)
    server.start()
    print(f"listening on {port}", flush=True)
    holds("asked as often as it should be", resolver.enough.wait(PATIENCE * 3), resolver.asked)
    server.stop(1).wait()
    equals("asked once about each code", sorted(resolver.asked), sorted(set(resolver.asked)))
    holds("every call has a deadline", all(0 < left < PATIENCE for left in resolver.remaining), resolver.remaining)


main(program)
