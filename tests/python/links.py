"""Requests of partners, for the programs that make some."""

from house import PATIENCE
from ridegate.partner.v1 import partner_pb2 as v1
from ridegate.partner.v1.partner_pb2_grpc import PartnerServiceStub


def partner(house, caller="partner"):
    return PartnerServiceStub(house.channel(caller))


def medium(rider, **other):
    """What a rider shows."""
    fields = {"kind": v1.MEDIUM_KIND_MOT_CODE, "issuer": rider["issuer"], "account": rider["account"], **other}
    return v1.Medium(**fields)


def request(house, rider, **other):
    """To link a rider who has just agreed to it."""
    consent = v1.Consent(wording_version="7", purpose="gates")
    consent.granted_at.FromDatetime(house.now)
    fields = {
        "idempotency_key": rider["idempotency_key"],
        "media": [medium(rider)],
        "authorization_code": rider["authorization_code"],
        "consent": consent,
        "channel": v1.CHANNEL_MINI_PROGRAM,
        **other,
    }
    return v1.LinkRiderRequest(**fields)


def link(house, message, caller="partner", timeout=PATIENCE):
    """What became of a request to link, as `LINKED`, and the positions refused."""
    answer = partner(house, caller).LinkRider(message, timeout=timeout)
    return v1.LinkResult.Name(answer.result).removeprefix("LINK_RESULT_"), list(answer.refused_media)


def get(house, rider, caller="partner"):
    """The link of an account; None if it is not linked."""
    answer = partner(house, caller).GetLink(v1.GetLinkRequest(medium=medium(rider)), timeout=PATIENCE)
    return answer.link if answer.HasField("link") else None


def unlink(house, rider, caller="partner"):
    """Whether there was a link."""
    message = v1.UnlinkRiderRequest(medium=medium(rider))
    return partner(house, caller).UnlinkRider(message, timeout=PATIENCE).unlinked
