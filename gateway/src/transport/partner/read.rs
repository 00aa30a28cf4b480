//! Messages become requests, or errors that name a field.

use jiff::{SignedDuration, Timestamp};
use ridegate_adapters::{
    self as adapters, Account, AppVersion, Bcd8, CardKind, Os, PartnerId, Profile, online_medium,
};
use ridegate_proto::partner::v1::{
    self as proto, BatchRow, Channel, Client, LinkRiderRequest, Medium, MediumKind, StartDelegatedLinkRequest,
};

use crate::{
    admission::FieldError,
    domain::{batch::RowResult, link::Consent},
    linking::{LinkRequest, Redacted, Stated},
    transport::wire,
};

/// How many media a request may name, and what is said of more or none.
type Many = (usize, &'static str);

const OF_A_RIDER: Many = (8, "must be 1 to 8");
/// As many as an agent may do.
const ON_BEHALF: Many = (5, "must be 1 to 5");
const CARD_ACCOUNT_DIGITS: usize = 20;
const USER_ID_CHARACTERS: usize = 16;
/// How far a partner's clock may be ahead of ours.
const CONSENT_AHEAD: SignedDuration = SignedDuration::from_mins(5);

/// A request to link, and the version of the app that it would need if its own is too old (D10).
pub(super) type Read = (LinkRequest, Option<AppVersion>);

pub(super) fn link(request: LinkRiderRequest, profile: &Profile, now: Timestamp) -> Result<Read, FieldError> {
    linking(request, profile, now, OF_A_RIDER)
}

fn linking(
    request: LinkRiderRequest,
    profile: &Profile,
    now: Timestamp,
    many: Many,
) -> Result<Read, FieldError> {
    let channel = channel(request.channel())?;
    let idempotency_key = idempotency_key(request.idempotency_key)?;
    let media = media(request.media, profile, many)?;
    let needed = version_needed(profile, &media, channel, request.client)?;
    let request = LinkRequest {
        partner: PartnerId::clone(&profile.id),
        idempotency_key,
        media,
        authorization_code: code(request.authorization_code)?,
        consent: consent(request.consent, now, "consent")?,
        channel: channel.into(),
    };
    Ok((request, needed))
}

pub(super) fn delegation(
    request: StartDelegatedLinkRequest,
    profile: &Profile,
    now: Timestamp,
) -> Result<Read, FieldError> {
    let StartDelegatedLinkRequest { idempotency_key, media, authorization_code, consent, channel, client } =
        request;
    let request = LinkRiderRequest { idempotency_key, media, authorization_code, consent, channel, client };
    linking(request, profile, now, ON_BEHALF)
}

/// Six digits.
pub(super) fn digits(code: &str) -> Result<&str, FieldError> {
    let are = code.len() == 6 && code.bytes().all(|byte| byte.is_ascii_digit());
    if are { Ok(code) } else { Err(FieldError::new("code", "must be six digits")) }
}

/// Names a batch.
pub(super) fn batch_id(id: String, field: &'static str) -> Result<String, FieldError> {
    text(id, field, 64, "must have 1 to 64 characters")
}

fn channel(channel: Channel) -> Result<Channel, FieldError> {
    match channel {
        Channel::App | Channel::MiniProgram | Channel::Website => Ok(channel),
        Channel::Unspecified | Channel::CardCompany => {
            Err(FieldError::new("channel", "must be APP, MINI_PROGRAM or WEBSITE"))
        }
    }
}

fn idempotency_key(key: String) -> Result<Redacted, FieldError> {
    text(key, "idempotency_key", 64, "must have 1 to 64 characters").map(Redacted::new)
}

fn code(code: String) -> Result<Redacted, FieldError> {
    text(code, "authorization_code", 256, "must have 1 to 256 characters").map(Redacted::new)
}

/// The version that the rider's app would have to have, if it is older (D10): for Yikatong cards, where the partner's
/// profile asks for one.
fn version_needed(
    profile: &Profile,
    media: &[adapters::Medium],
    channel: Channel,
    client: Option<Client>,
) -> Result<Option<AppVersion>, FieldError> {
    let is_yikatong = |medium: &adapters::Medium| {
        matches!(medium, adapters::Medium::Card { kind: CardKind::YikatongCard | CardKind::YikatongNfc, .. })
    };
    let asks =
        [Os::Android, Os::HarmonyOs, Os::Ios].into_iter().any(|os| profile.min_app_version(os).is_some());
    if channel != Channel::App || !asks || !media.iter().any(is_yikatong) {
        return Ok(None);
    }
    let client = client.ok_or_else(|| {
        FieldError::new("client", "must be set: not every version of the app may link such a card")
    })?;
    let os = match client.os() {
        proto::Os::Android => Os::Android,
        proto::Os::Harmonyos => Os::HarmonyOs,
        proto::Os::Ios => Os::Ios,
        proto::Os::Unspecified => {
            return Err(FieldError::new("client.os", "must be ANDROID, HARMONYOS or IOS"));
        }
    };
    let version: AppVersion = client.app_version.parse().map_err(|_| {
        FieldError::new(
            "client.app_version",
            "must be 1 to 4 numbers with dots between them, such as 5.4.2.0",
        )
    })?;
    Ok(profile.min_app_version(os).filter(|needed| version < *needed))
}

fn text(value: String, field: &str, max: usize, rule: &'static str) -> Result<String, FieldError> {
    if value.chars().any(char::is_control) {
        return Err(FieldError::new(field, "must not hold control characters"));
    }
    let fits = !value.is_empty() && value.chars().nth(max).is_none();
    if fits { Ok(value) } else { Err(FieldError::new(field, rule)) }
}

pub(super) fn consent(
    consent: Option<proto::Consent>,
    now: Timestamp,
    field: &str,
) -> Result<Consent, FieldError> {
    let consent = consent.ok_or_else(|| FieldError::new(field, "must be set: no consent, no link"))?;
    let part = |part: &str| format!("{field}.{part}");
    let granted_at = consent.granted_at.and_then(wire::time);
    let granted_at =
        granted_at.ok_or_else(|| FieldError::new(part("granted_at"), "must be set to a time of this era"))?;
    if granted_at.duration_since(now) > CONSENT_AHEAD {
        let rule = "must not be more than five minutes ahead of now";
        return Err(FieldError::new(part("granted_at"), rule));
    }
    let wording = part("wording_version");
    Ok(Consent {
        wording_version: text(consent.wording_version, &wording, 64, "must have 1 to 64 characters")?,
        granted_at,
        purpose: text(consent.purpose, &part("purpose"), 128, "must have 1 to 128 characters")?,
    })
}

fn media(
    media: Vec<Medium>,
    profile: &Profile,
    (most, rule): Many,
) -> Result<Vec<adapters::Medium>, FieldError> {
    if media.is_empty() || media.len() > most {
        return Err(FieldError::new("media", rule));
    }
    let mut read = Vec::with_capacity(media.len());
    for (position, stated) in media.into_iter().enumerate() {
        let field = format!("media[{position}]");
        let medium = medium(stated, profile, &field)?;
        if is_concession(&medium) {
            let rule = "must not be a concession card: the card company links those";
            return Err(FieldError::new(format!("{field}.kind"), rule));
        }
        if read.contains(&medium) {
            return Err(FieldError::new(field, "must not repeat another"));
        }
        read.push(medium);
    }
    Ok(read)
}

/// A medium in a field of its own.
pub(super) fn one_medium(
    stated: Option<Medium>,
    profile: &Profile,
    field: &str,
) -> Result<adapters::Medium, FieldError> {
    stated
        .ok_or_else(|| FieldError::new(field, "must be set"))
        .and_then(|stated| medium(stated, profile, field))
}

/// A card that this partner issues.
pub(super) fn own_card(
    stated: Option<Medium>,
    profile: &Profile,
    field: &str,
    which: Which,
) -> Result<adapters::Medium, FieldError> {
    let rule = match which {
        Which::Concession => "must be a concession card that this partner issues",
        Which::Any => "must be a card that this partner issues",
    };
    // The kind first: what else a medium of another kind would have to be does not matter here.
    let kind = stated.as_ref().map(|stated| card_kind(stated.kind()));
    let fits = |kind: CardKind| profile.issues_card(kind) && (which == Which::Any || kind.is_concession());
    if kind.is_some_and(|kind| !kind.is_some_and(fits)) {
        return Err(FieldError::new(format!("{field}.kind"), rule));
    }
    let medium = one_medium(stated, profile, field)?;
    match &medium {
        adapters::Medium::Card { kind, issuer, .. } if profile.is_company_of(*kind, *issuer) => Ok(medium),
        _ => Err(FieldError::new(
            format!("{field}.issuer"),
            "must be one under which this partner issues cards",
        )),
    }
}

/// Which of its cards a card company may mean.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Which {
    Concession,
    Any,
}

/// A row of a batch: what cannot be used in it is refused, and nothing else.
pub(super) fn row(row: BatchRow, profile: &Profile) -> Stated {
    let card = own_card(row.medium, profile, "medium", Which::Concession);
    let card = card.map_err(|error| match error.field.as_str() {
        "medium.issuer" => RowResult::IssuerRefused,
        "medium.account" => RowResult::NumberRefused,
        _ => RowResult::KindRefused,
    })?;
    let code = code(row.authorization_code).map_err(|_| RowResult::AuthorizationRefused)?;
    Ok((card, code))
}

fn is_concession(medium: &adapters::Medium) -> bool {
    matches!(medium, adapters::Medium::Card { kind, .. } if kind.is_concession())
}

fn medium(stated: Medium, profile: &Profile, field: &str) -> Result<adapters::Medium, FieldError> {
    let medium = match (stated.kind(), card_kind(stated.kind())) {
        (_, Some(kind)) => profile.card(kind, &stated.issuer, &stated.account),
        (MediumKind::MotCode, _) => mot_code(stated, profile),
        (MediumKind::AlipayCode, _) => alipay_code(stated, profile),
        (MediumKind::OnlineCode, _) => online_code(&stated, profile),
        _ => Err(("kind", "must be a kind of medium that can be linked")),
    };
    medium.map_err(|(part, rule)| FieldError::new(format!("{field}.{part}"), rule))
}

const fn card_kind(kind: MediumKind) -> Option<CardKind> {
    match kind {
        MediumKind::YikatongCard => Some(CardKind::YikatongCard),
        MediumKind::YikatongNfc => Some(CardKind::YikatongNfc),
        MediumKind::TUnionCard => Some(CardKind::TUnionCard),
        MediumKind::SeniorCard => Some(CardKind::SeniorCard),
        MediumKind::CivilAffairsCard => Some(CardKind::CivilAffairsCard),
        MediumKind::DisabilityServiceCard => Some(CardKind::DisabilityServiceCard),
        MediumKind::MotCode | MediumKind::AlipayCode | MediumKind::OnlineCode | MediumKind::Unspecified => {
            None
        }
    }
}

/// Which part of a medium, and what it must be.
type Refusal = (&'static str, &'static str);

const NOT_SHOWN: Refusal = ("kind", "must be one that this partner shows");

fn mot_code(stated: Medium, profile: &Profile) -> Result<adapters::Medium, Refusal> {
    let issuer: Bcd8 = stated.issuer.parse().map_err(|_| ("issuer", "must be 8 digits"))?;
    if !profile.issues_mot(issuer) {
        return Err(("issuer", "must be one of this partner's own"));
    }
    let is_account = stated.account.len() == CARD_ACCOUNT_DIGITS
        && stated.account.bytes().all(|byte| byte.is_ascii_digit());
    if !is_account {
        return Err(("account", "must be 20 digits"));
    }
    Ok(adapters::Medium::MotCode { issuer, account: Account::new(stated.account) })
}

fn alipay_code(stated: Medium, profile: &Profile) -> Result<adapters::Medium, Refusal> {
    if profile.alipay.is_none() {
        return Err(NOT_SHOWN);
    }
    if !stated.issuer.is_empty() {
        return Err(("issuer", "must be empty: the partner itself issues the account"));
    }
    if stated.account.len() != USER_ID_CHARACTERS || !stated.account.is_ascii() {
        return Err(("account", "must be 16 ASCII characters"));
    }
    Ok(adapters::Medium::AlipayCode { user: Account::new(stated.account) })
}

fn online_code(stated: &Medium, profile: &Profile) -> Result<adapters::Medium, Refusal> {
    if !profile.is_online() {
        return Err(NOT_SHOWN);
    }
    online_medium(&stated.issuer, &stated.account)
}
