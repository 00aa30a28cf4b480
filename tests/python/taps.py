"""Taps, for the programs that make some."""

from house import PATIENCE
from ridegate.validator.v1 import validator_pb2 as v1
from ridegate.validator.v1.validator_pb2_grpc import ValidatorServiceStub


def request(request_id, code, **more):
    """One tap on the way in."""
    fields = {"direction": v1.DIRECTION_ENTRY, "location": "xizhimen", **more}
    return v1.CheckRequest(request_id=request_id, qr_code=code, **fields)


def card_request(request_id, kind, number="", issuer="", **more):
    """One tap of a card on the way in."""
    card = v1.CardTap(kind=kind, number=number, issuer=issuer)
    return v1.CheckRequest(request_id=request_id, card=card, **{"direction": v1.DIRECTION_ENTRY, **more})


def validator(house, caller="validator"):
    return ValidatorServiceStub(house.channel(caller))


def tap(house, request_id, code, caller="validator"):
    """The answer to one tap."""
    return validator(house, caller).Check(request(request_id, code), timeout=PATIENCE)


def said(answer):
    """Verdict and reason, as `ALLOW HEALTH_OK`."""
    verdict = v1.Verdict.Name(answer.verdict).removeprefix("VERDICT_")
    return f"{verdict} {v1.Reason.Name(answer.reason).removeprefix('REASON_')}"
