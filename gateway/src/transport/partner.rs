//! `ridegate.partner.v1.PartnerService`.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use ridegate_adapters::{self as adapters, Account, Bcd8, CardKind, PartnerId, Profile, online_medium};
use ridegate_proto::partner::v1::{
    self as proto, Channel, GetLinkRequest, GetLinkResponse, LinkResult, LinkRiderRequest, LinkRiderResponse,
    Medium, MediumKind, UnlinkRiderRequest, UnlinkRiderResponse, partner_service_server::PartnerService,
};
use tonic::{Request, Response, Status};

use super::{identity, status, wire};
use crate::{
    admission::FieldError,
    domain::link::{Consent, LinkOutcome, LinkRecord},
    linking::{LinkRequest, Linking, Redacted},
    roster::InForce,
};

const MAX_MEDIA: usize = 8;
const CARD_ACCOUNT_DIGITS: usize = 20;
const USER_ID_CHARACTERS: usize = 16;
/// How far a partner's clock may be ahead of ours.
const CONSENT_AHEAD: SignedDuration = SignedDuration::from_mins(5);

/// The service.
#[derive(Debug, Clone)]
pub struct PartnerApi {
    /// Who is a partner, and how often each may come.
    pub roster: InForce,
    /// What they do.
    pub linking: Linking,
}

impl PartnerApi {
    /// The partner that calls, if it is one and has not called too often.
    fn admit<T>(&self, request: &Request<T>) -> Result<Arc<Profile>, Status> {
        let roster = self.roster.load();
        let profile = identity::partner(request, &roster.partners)?;
        let admitted = roster.quotas.call(&profile.id);
        admitted.map_err(|over| status::over_quota(profile.id.as_str(), over))?;
        Ok(Arc::clone(profile))
    }
}

#[tonic::async_trait]
impl PartnerService for PartnerApi {
    async fn link_rider(
        &self,
        request: Request<LinkRiderRequest>,
    ) -> Result<Response<LinkRiderResponse>, Status> {
        let profile = self.admit(&request)?;
        let now = self.linking.clock.now();
        let request =
            link_request(request.into_inner(), &profile, now).map_err(|error| status::field(&error))?;
        let outcome = self.linking.link(request).await.map_err(|error| status::linking(&error))?;
        let (result, refused) = match outcome {
            LinkOutcome::Linked => (LinkResult::Linked, vec![]),
            LinkOutcome::AlreadyLinked => (LinkResult::AlreadyLinked, vec![]),
            LinkOutcome::LinkedToSomeoneElse(refused) => (LinkResult::LinkedToSomeoneElse, refused),
            LinkOutcome::AuthorizationUnknown => (LinkResult::AuthorizationUnknown, vec![]),
            LinkOutcome::AuthorizationUsed => (LinkResult::AuthorizationUsed, vec![]),
            LinkOutcome::KeyReused => return Err(status::key_reused()),
        };
        let refused_media = refused.into_iter().filter_map(|position| position.try_into().ok()).collect();
        Ok(Response::new(LinkRiderResponse {
            result: result.into(),
            refused_media,
            ..LinkRiderResponse::default()
        }))
    }

    async fn unlink_rider(
        &self,
        request: Request<UnlinkRiderRequest>,
    ) -> Result<Response<UnlinkRiderResponse>, Status> {
        let profile = self.admit(&request)?;
        let medium = one_medium(request.into_inner().medium, &profile)?;
        let unlinked = self.linking.unlink(&profile.id, &medium).await;
        let unlinked = unlinked.map_err(|error| status::linking(&error))?;
        Ok(Response::new(UnlinkRiderResponse { unlinked }))
    }

    async fn get_link(&self, request: Request<GetLinkRequest>) -> Result<Response<GetLinkResponse>, Status> {
        let profile = self.admit(&request)?;
        let medium = one_medium(request.into_inner().medium, &profile)?;
        let link = self.linking.get(&profile.id, &medium).await;
        let link = link.map_err(|error| status::linking(&error))?.map(link_message);
        Ok(Response::new(GetLinkResponse { link }))
    }

    async fn batch_link(
        &self,
        _request: Request<tonic::Streaming<proto::BatchLinkRequest>>,
    ) -> Result<Response<proto::BatchLinkResponse>, Status> {
        Err(Status::unimplemented("not yet"))
    }

    async fn get_batch(
        &self,
        _request: Request<proto::GetBatchRequest>,
    ) -> Result<Response<proto::GetBatchResponse>, Status> {
        Err(Status::unimplemented("not yet"))
    }

    async fn report_lost(
        &self,
        _request: Request<proto::ReportLostRequest>,
    ) -> Result<Response<proto::ReportLostResponse>, Status> {
        Err(Status::unimplemented("not yet"))
    }

    async fn report_reissued(
        &self,
        _request: Request<proto::ReportReissuedRequest>,
    ) -> Result<Response<proto::ReportReissuedResponse>, Status> {
        Err(Status::unimplemented("not yet"))
    }

    async fn report_returned(
        &self,
        _request: Request<proto::ReportReturnedRequest>,
    ) -> Result<Response<proto::ReportReturnedResponse>, Status> {
        Err(Status::unimplemented("not yet"))
    }

    async fn start_delegated_link(
        &self,
        _request: Request<proto::StartDelegatedLinkRequest>,
    ) -> Result<Response<proto::StartDelegatedLinkResponse>, Status> {
        Err(Status::unimplemented("not yet"))
    }

    async fn resend_delegated_code(
        &self,
        _request: Request<proto::ResendDelegatedCodeRequest>,
    ) -> Result<Response<proto::ResendDelegatedCodeResponse>, Status> {
        Err(Status::unimplemented("not yet"))
    }

    async fn confirm_delegated_link(
        &self,
        _request: Request<proto::ConfirmDelegatedLinkRequest>,
    ) -> Result<Response<proto::ConfirmDelegatedLinkResponse>, Status> {
        Err(Status::unimplemented("not yet"))
    }
}

fn link_request(
    request: LinkRiderRequest,
    profile: &Profile,
    now: Timestamp,
) -> Result<LinkRequest, FieldError> {
    let channel = match request.channel() {
        Channel::Unspecified => {
            return Err(FieldError::new("channel", "must be APP, MINI_PROGRAM or WEBSITE"));
        }
        channel => channel.into(),
    };
    let idempotency_key =
        text(request.idempotency_key, "idempotency_key", 64, "must have 1 to 64 characters")?;
    let code = text(request.authorization_code, "authorization_code", 256, "must have 1 to 256 characters")?;
    Ok(LinkRequest {
        partner: PartnerId::clone(&profile.id),
        idempotency_key: Redacted::new(idempotency_key),
        media: media(request.media, profile)?,
        authorization_code: Redacted::new(code),
        consent: consent(request.consent, now)?,
        channel,
    })
}

fn text(value: String, field: &str, max: usize, rule: &'static str) -> Result<String, FieldError> {
    let fits = !value.is_empty() && value.chars().nth(max).is_none();
    if fits { Ok(value) } else { Err(FieldError::new(field, rule)) }
}

fn consent(consent: Option<proto::Consent>, now: Timestamp) -> Result<Consent, FieldError> {
    let consent = consent.ok_or_else(|| FieldError::new("consent", "must be set: no consent, no link"))?;
    let granted_at = consent.granted_at.and_then(wire::time);
    let granted_at = granted_at
        .ok_or_else(|| FieldError::new("consent.granted_at", "must be set to a time of this era"))?;
    if granted_at.duration_since(now) > CONSENT_AHEAD {
        return Err(FieldError::new("consent.granted_at", "must not be more than five minutes ahead of now"));
    }
    Ok(Consent {
        wording_version: text(
            consent.wording_version,
            "consent.wording_version",
            64,
            "must have 1 to 64 characters",
        )?,
        granted_at,
        purpose: text(consent.purpose, "consent.purpose", 128, "must have 1 to 128 characters")?,
    })
}

fn media(media: Vec<Medium>, profile: &Profile) -> Result<Vec<adapters::Medium>, FieldError> {
    if media.is_empty() || media.len() > MAX_MEDIA {
        return Err(FieldError::new("media", "must be 1 to 8"));
    }
    let mut read = Vec::with_capacity(media.len());
    for (position, stated) in media.into_iter().enumerate() {
        let field = format!("media[{position}]");
        let medium = medium(stated, profile, &field)?;
        if read.contains(&medium) {
            return Err(FieldError::new(field, "must not repeat another"));
        }
        read.push(medium);
    }
    Ok(read)
}

fn one_medium(stated: Option<Medium>, profile: &Profile) -> Result<adapters::Medium, Status> {
    stated
        .ok_or_else(|| FieldError::new("medium", "must be set"))
        .and_then(|stated| medium(stated, profile, "medium"))
        .map_err(|error| status::field(&error))
}

fn medium(stated: Medium, profile: &Profile, field: &str) -> Result<adapters::Medium, FieldError> {
    let medium = match stated.kind() {
        MediumKind::MotCode => mot_code(stated, profile),
        MediumKind::AlipayCode => alipay_code(stated, profile),
        MediumKind::OnlineCode => online_code(&stated, profile),
        kind => card_kind(kind).and_then(|kind| profile.card(kind, &stated.issuer, &stated.account)),
    };
    medium.map_err(|(part, rule)| FieldError::new(format!("{field}.{part}"), rule))
}

fn card_kind(kind: MediumKind) -> Result<CardKind, Refusal> {
    Ok(match kind {
        MediumKind::YikatongCard => CardKind::YikatongCard,
        MediumKind::YikatongNfc => CardKind::YikatongNfc,
        MediumKind::TUnionCard => CardKind::TUnionCard,
        MediumKind::SeniorCard => CardKind::SeniorCard,
        MediumKind::CivilAffairsCard => CardKind::CivilAffairsCard,
        MediumKind::DisabilityServiceCard => CardKind::DisabilityServiceCard,
        _ => return Err(("kind", "must be MOT_CODE, ALIPAY_CODE, ONLINE_CODE or a card")),
    })
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

fn link_message(link: LinkRecord) -> proto::Link {
    proto::Link {
        linked_at: Some(wire::timestamp(link.linked_at)),
        channel: link.channel,
        consent: Some(proto::Consent {
            wording_version: link.consent.wording_version,
            granted_at: Some(wire::timestamp(link.consent.granted_at)),
            purpose: link.consent.purpose,
        }),
    }
}
