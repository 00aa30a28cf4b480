"""Linking, as a partner's engineer meets it."""

import house as h
import links
import taps
from links import v1


def a_rider_is_linked_once_and_can_leave(house, rider):
    h.equals("before", links.get(house, rider), None)
    h.equals("the rider's code before", taps.said(taps.tap(house, "before", code_of(rider))), "INSPECT NOT_LINKED")
    message = links.request(house, rider)
    h.equals("link", links.link(house, message), ("LINKED", []))
    h.equals("the same request again", links.link(house, message), ("LINKED", []))
    link = links.get(house, rider)
    h.holds("the consent is the one given", link.consent == message.consent, link.consent)
    h.equals("the channel", v1.Channel.Name(link.channel), "CHANNEL_MINI_PROGRAM")
    h.equals("linked at", link.linked_at.seconds, int(house.now.timestamp()))
    h.equals("the rider's code", taps.said(taps.tap(house, "linked", code_of(rider))), "ALLOW HEALTH_OK")
    another_partner_sees_and_touches_nothing(house, rider)
    h.equals("unlink", links.unlink(house, rider), True)
    h.equals("unlink again", links.unlink(house, rider), False)
    h.equals("after", links.get(house, rider), None)
    h.equals("the rider's code after", taps.said(taps.tap(house, "after", code_of(rider))), "INSPECT NOT_LINKED")


def another_partner_sees_and_touches_nothing(house, rider):
    h.equals("another partner sees", links.get(house, rider, "other_partner"), None)
    h.equals("another partner unlinks", links.unlink(house, rider, "other_partner"), False)
    h.holds("the link is still there", links.get(house, rider) is not None)
    not_its_own = {**rider, "issuer": "99990002"}
    refused("an issuer of another partner", lambda: links.get(house, not_its_own), "medium.issuer", rider)


def a_key_and_a_code_serve_one_request(house, rider, other, third):
    h.equals("link", links.link(house, links.request(house, rider)), ("LINKED", []))
    reused = links.request(house, other, idempotency_key=rider["idempotency_key"])
    h.fails("the key of another request", lambda: links.link(house, reused), "INVALID_ARGUMENT",
            "IDEMPOTENCY_KEY_REUSED", "idempotency_key")
    used = links.request(house, other, authorization_code=rider["authorization_code"])
    h.equals("a code used before", links.link(house, used), ("AUTHORIZATION_USED", []))
    unknown = links.request(house, other, idempotency_key="unknown", authorization_code="never-given")
    h.equals("a code nobody gave", links.link(house, unknown), ("AUTHORIZATION_UNKNOWN", []))
    taken = links.request(house, third, media=[links.medium(third), links.medium(rider)])
    h.equals("an account of somebody else", links.link(house, taken), ("LINKED_TO_SOMEONE_ELSE", [1]))
    for who in (other, third):
        h.equals("nothing was linked", links.get(house, who), None)


def every_field_is_named(house, rider):
    good = links.request(house, rider)
    long = "x" * 300
    no_date = v1.Consent(wording_version="7", purpose="gates")
    tomorrow = v1.Consent()
    tomorrow.CopyFrom(good.consent)
    tomorrow.granted_at.seconds += 86_400
    for field, bad in [
        ("idempotency_key", {"idempotency_key": ""}),
        ("idempotency_key", {"idempotency_key": long}),
        ("authorization_code", {"authorization_code": long}),
        ("channel", {"channel": v1.CHANNEL_UNSPECIFIED}),
        ("consent", {"consent": None}),
        ("consent.granted_at", {"consent": no_date}),
        ("consent.granted_at", {"consent": tomorrow}),
        ("media", {"media": []}),
        ("media[1]", {"media": [links.medium(rider)] * 2}),
        ("media[0].kind", {"media": [links.medium(rider, kind=v1.MEDIUM_KIND_UNSPECIFIED)]}),
        ("media[0].issuer", {"media": [links.medium(rider, issuer="9999000x")]}),
        ("media[0].account", {"media": [links.medium(rider, account=rider["account"][1:])]}),
    ]:
        message = links.request(house, rider, **bad)
        refused(f"link, bad {field}", lambda: links.link(house, message), field, rider)
    call = links.partner(house).GetLink
    refused("a link of nothing", lambda: call(v1.GetLinkRequest(), timeout=h.PATIENCE), "medium", rider)
    h.equals("nothing was linked", links.get(house, rider), None)


def refused(what, call, field, rider):
    """A check that a field is named, and no value."""
    error = h.fails(what, call, "INVALID_ARGUMENT", "INVALID_FIELD", field)
    said = f"{error.details()} {h.details_of(error)}"
    values = [rider["account"], rider["account"][1:], rider["authorization_code"], "xxx", "9999000"]
    h.holds(f"{what}, without a value", not any(value in said for value in values), said)


def code_of(rider):
    return bytes.fromhex(rider["codes"].pop())


def program(house):
    first, second, third, fourth, fifth = house.to_link
    a_rider_is_linked_once_and_can_leave(house, first)
    a_key_and_a_code_serve_one_request(house, second, third, fourth)
    every_field_is_named(house, fifth)


h.main(program)
