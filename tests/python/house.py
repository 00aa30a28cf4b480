"""What every program needs: the house it is run in, connections to it, and checks that are counted.

A program is run with one argument, the path of a JSON file:

    address       where the gateway listens
    now           the gateway's time, RFC 3339
    protos        the folder of the .proto files
    ca            who certified the gateway, PEM
    callers       by name: certificate, key (PEM files) and identity
    codes         by kind of rider: ride codes nobody has shown yet, hexadecimal
    to_link       riders to link: issuer, account, authorization_code, idempotency_key, codes

and what else one program alone needs. It prints what it has checked, how many checks that were in its last line, and
exits 0; the first check that fails ends it.
"""

import datetime
import json
import sys
from pathlib import Path

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

# The stubs are beside the interpreter that `make python` has set up.
sys.path.insert(0, str(Path(sys.prefix) / "stubs"))

# The longest that any one call is waited for, in seconds.
PATIENCE = 20
# A proxy is for the world outside.
OPTIONS = [("grpc.enable_http_proxy", 0)]

DETAILS = {
    "bad_request": error_details_pb2.BadRequest,
    "error_info": error_details_pb2.ErrorInfo,
    "retry_info": error_details_pb2.RetryInfo,
    "quota_failure": error_details_pb2.QuotaFailure,
}


class House:
    """The house of the JSON file."""

    def __init__(self, path):
        self.facts = json.loads(Path(path).read_text())
        self.codes = self.facts["codes"]
        self.to_link = self.facts["to_link"]
        self.now = datetime.datetime.fromisoformat(self.facts["now"])
        self.channels = {}

    def channel(self, caller):
        """The connection of a caller, with its certificate; "nobody" has none."""
        if caller not in self.channels:
            files = None if caller == "nobody" else self.facts["callers"][caller]
            self.channels[caller] = connect(self.facts["address"], self.facts["ca"], files)
        return self.channels[caller]

    def code(self, kind):
        """A code nobody has shown yet."""
        return bytes.fromhex(self.codes[kind].pop())

    def close(self):
        for channel in self.channels.values():
            channel.close()


def connect(address, ca, caller, options=()):
    """A connection over TLS, as the caller of this certificate and key; None is nobody."""
    key, certificate = (pem(caller["key"]), pem(caller["certificate"])) if caller else (None, None)
    credentials = grpc.ssl_channel_credentials(pem(ca), key, certificate)
    return grpc.secure_channel(address, credentials, options=OPTIONS + list(options))


def pem(file):
    return Path(file).read_bytes()


checks = 0


def holds(what, condition, seen=""):
    """A check."""
    global checks
    if not condition:
        raise AssertionError(f"{what}: no; saw {seen!r}")
    checks += 1
    print(f"{what}: yes", flush=True)


def equals(what, seen, expected):
    """A check that two values are the same."""
    global checks
    if seen != expected:
        raise AssertionError(f"{what}: expected {expected!r}, saw {seen!r}")
    checks += 1
    print(f"{what}: {expected}", flush=True)


def fails(what, call, code, reason=None, field=None):
    """A check that a call is refused with this code, this reason in ErrorInfo, and this field in BadRequest."""
    try:
        answer = call()
    except grpc.RpcError as error:
        equals(what, error.code().name, code)
        details = details_of(error)
        if reason:
            info = details["error_info"]
            equals(f"{what}, because", (info.domain, info.reason), ("ridegate", reason))
        if field:
            fields = [one.field for one in details["bad_request"].field_violations]
            equals(f"{what}, field", fields, [field])
        return error
    raise AssertionError(f"{what}: expected {code}, saw the answer {answer!r}")


def details_of(error):
    """The google.rpc details of an error, by name; what it does not have is empty."""
    found = {name: kind() for name, kind in DETAILS.items()}
    status = rpc_status.from_call(error)
    for packed in status.details if status else []:
        for detail in found.values():
            if packed.Is(detail.DESCRIPTOR):
                packed.Unpack(detail)
    return found


def main(program):
    """Runs a program in the house of the first argument."""
    house = House(sys.argv[1])
    try:
        program(house)
    finally:
        house.close()
    print(f"{checks} checks", flush=True)
