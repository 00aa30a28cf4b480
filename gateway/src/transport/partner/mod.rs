//! `ridegate.partner.v1.PartnerService`.

mod answer;
mod batch;
mod read;

use std::sync::Arc;

use ridegate_adapters::{Medium, Profile};
use ridegate_proto::partner::v1::{
    self as proto, BatchLinkRequest, BatchLinkResponse, ConfirmDelegatedLinkRequest,
    ConfirmDelegatedLinkResponse, DelegationResult, GetBatchRequest, GetBatchResponse, GetLinkRequest,
    GetLinkResponse, GetQuotaRequest, GetQuotaResponse, LinkResult, LinkRiderRequest, LinkRiderResponse,
    ReportLostRequest, ReportLostResponse, ReportReissuedRequest, ReportReissuedResponse,
    ReportReturnedRequest, ReportReturnedResponse, ResendDelegatedCodeRequest, ResendDelegatedCodeResponse,
    StartDelegatedLinkRequest, StartDelegatedLinkResponse, UnlinkRiderRequest, UnlinkRiderResponse,
    partner_service_server::PartnerService,
};
use tonic::{Request, Response, Status, Streaming};

use self::{batch::Stream, read::Which};
use super::{identity, status};
use crate::{
    admission::FieldError,
    door::Peer,
    linking::{Linking, LinkingError},
    roster::InForce,
};

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
    fn admit<T>(
        &self,
        request: &Request<T>,
    ) -> impl Future<Output = Result<Arc<Profile>, Status>> + Send + use<T> {
        // One roster for all of the call, and nothing of the request while it waits.
        let roster = self.roster.load_full();
        let profile = identity::partner(request, &roster.partners).map(Arc::clone);
        async move {
            let profile = profile?;
            let admitted = roster.quotas.call(&profile.id).await;
            admitted.map_err(|over| status::over_quota(profile.id.as_str(), over))?;
            Ok(profile)
        }
    }

    /// The card company that calls.
    fn admit_company<T>(
        &self,
        request: &Request<T>,
    ) -> impl Future<Output = Result<Arc<Profile>, Status>> + Send + use<T> {
        let admitted = self.admit(request);
        async move {
            let profile = admitted.await?;
            let issues = profile.cards.iter().any(|cards| cards.issues);
            if issues { Ok(profile) } else { Err(status::not_a_card_company()) }
        }
    }
}

/// What was asked for could not be carried out.
#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn failed(error: LinkingError) -> Status {
    status::linking(&error)
}

/// A field cannot be used.
#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn refused(error: FieldError) -> Status {
    status::field(&error)
}

#[tonic::async_trait]
impl PartnerService for PartnerApi {
    async fn link_rider(
        &self,
        request: Request<LinkRiderRequest>,
    ) -> Result<Response<LinkRiderResponse>, Status> {
        let profile = self.admit(&request).await?;
        let read = read::link(request.into_inner(), &profile, self.linking.clock.now());
        let (request, version_needed) = read.map_err(refused)?;
        if let Some(version) = version_needed {
            let (result, version_needed) = (LinkResult::AppTooOld.into(), version.to_string());
            return Ok(Response::new(LinkRiderResponse {
                result,
                version_needed,
                ..LinkRiderResponse::default()
            }));
        }
        let outcome = self.linking.link(request).await.map_err(failed)?;
        answer::link(outcome).map(Response::new)
    }

    async fn unlink_rider(
        &self,
        request: Request<UnlinkRiderRequest>,
    ) -> Result<Response<UnlinkRiderResponse>, Status> {
        let profile = self.admit(&request).await?;
        let medium = read::one_medium(request.into_inner().medium, &profile, "medium").map_err(refused)?;
        let unlinked = self.linking.unlink(&profile.id, &medium).await.map_err(failed)?;
        Ok(Response::new(UnlinkRiderResponse { unlinked }))
    }

    async fn get_link(&self, request: Request<GetLinkRequest>) -> Result<Response<GetLinkResponse>, Status> {
        let profile = self.admit(&request).await?;
        let medium = read::one_medium(request.into_inner().medium, &profile, "medium").map_err(refused)?;
        let link = self.linking.get(&profile.id, &medium).await.map_err(failed)?;
        Ok(Response::new(GetLinkResponse { link: link.map(answer::link_message) }))
    }

    async fn batch_link(
        &self,
        request: Request<Streaming<BatchLinkRequest>>,
    ) -> Result<Response<BatchLinkResponse>, Status> {
        let profile = self.admit_company(&request).await?;
        let leaving = request.extensions().get::<Peer>().map(|peer| peer.leaving.clone()).unwrap_or_default();
        let (linking, messages) = (&self.linking, request.into_inner());
        let stream = Stream { linking, profile: &profile, messages, leaving };
        stream.carry_out().await.map(Response::new)
    }

    async fn get_batch(
        &self,
        request: Request<GetBatchRequest>,
    ) -> Result<Response<GetBatchResponse>, Status> {
        let profile = self.admit_company(&request).await?;
        let GetBatchRequest { batch_id, from_row } = request.into_inner();
        let id = read::batch_id(batch_id, "batch_id").map_err(refused)?;
        let found = self.linking.batch_progress(&profile.id, &id, from_row).await.map_err(failed)?;
        let (progress, rows) = found.ok_or_else(status::no_such_batch)?;
        let progress = Some(answer::progress(progress));
        Ok(Response::new(GetBatchResponse {
            progress,
            refused: rows.into_iter().map(answer::refused).collect(),
        }))
    }

    async fn report_lost(
        &self,
        request: Request<ReportLostRequest>,
    ) -> Result<Response<ReportLostResponse>, Status> {
        let profile = self.admit_company(&request).await?;
        let card = own(request.into_inner().medium, &profile, "medium", Which::Concession)?;
        let unlinked = self.linking.report_lost(&profile.id, &card).await.map_err(failed)?;
        Ok(Response::new(ReportLostResponse { unlinked }))
    }

    async fn report_reissued(
        &self,
        request: Request<ReportReissuedRequest>,
    ) -> Result<Response<ReportReissuedResponse>, Status> {
        let profile = self.admit_company(&request).await?;
        let ReportReissuedRequest { lost, reissued } = request.into_inner();
        let lost = own(lost, &profile, "lost", Which::Concession)?;
        let reissued = own(reissued, &profile, "reissued", Which::Concession)?;
        if lost == reissued {
            return Err(refused(FieldError::new("reissued", "must be another card than the lost one")));
        }
        let outcome = self.linking.report_reissued(&profile.id, &lost, &reissued).await.map_err(failed)?;
        Ok(Response::new(ReportReissuedResponse { result: answer::reissued(outcome).into() }))
    }

    async fn report_returned(
        &self,
        request: Request<ReportReturnedRequest>,
    ) -> Result<Response<ReportReturnedResponse>, Status> {
        let profile = self.admit_company(&request).await?;
        let card = own(request.into_inner().medium, &profile, "medium", Which::Any)?;
        let unlinked = self.linking.report_returned(&profile.id, &card).await.map_err(failed)?;
        Ok(Response::new(ReportReturnedResponse { unlinked }))
    }

    async fn start_delegated_link(
        &self,
        request: Request<StartDelegatedLinkRequest>,
    ) -> Result<Response<StartDelegatedLinkResponse>, Status> {
        let profile = self.admit(&request).await?;
        let read = read::delegation(request.into_inner(), &profile, self.linking.clock.now());
        let (request, version_needed) = read.map_err(refused)?;
        if let Some(version) = version_needed {
            let (result, version_needed) = (DelegationResult::AppTooOld.into(), version.to_string());
            let response = StartDelegatedLinkResponse { result, version_needed, ..Default::default() };
            return Ok(Response::new(response));
        }
        let started = self.linking.start_delegated(request).await.map_err(failed)?;
        answer::started(started).map(Response::new)
    }

    async fn resend_delegated_code(
        &self,
        request: Request<ResendDelegatedCodeRequest>,
    ) -> Result<Response<ResendDelegatedCodeResponse>, Status> {
        let profile = self.admit(&request).await?;
        let id = request.into_inner().delegation_id;
        let resent = self.linking.resend_delegated(&profile.id, &id).await.map_err(failed)?;
        answer::resent(resent).map(Response::new)
    }

    async fn confirm_delegated_link(
        &self,
        request: Request<ConfirmDelegatedLinkRequest>,
    ) -> Result<Response<ConfirmDelegatedLinkResponse>, Status> {
        let profile = self.admit(&request).await?;
        let ConfirmDelegatedLinkRequest { delegation_id, code } = request.into_inner();
        let digits = read::digits(&code).map_err(refused)?;
        let confirmed = self.linking.confirm_delegated(&profile.id, &delegation_id, digits).await;
        answer::confirmed(confirmed.map_err(failed)?).map(Response::new)
    }

    async fn get_quota(
        &self,
        request: Request<GetQuotaRequest>,
    ) -> Result<Response<GetQuotaResponse>, Status> {
        let profile = self.admit(&request).await?;
        // None where the partner has left the roster just now.
        let stand = self.roster.load().quotas.stand(&profile.id).ok_or_else(status::unknown_partner)?;
        Ok(Response::new(answer::quota(stand)))
    }
}

fn own(
    stated: Option<proto::Medium>,
    profile: &Profile,
    field: &str,
    which: Which,
) -> Result<Medium, Status> {
    read::own_card(stated, profile, field, which).map_err(refused)
}
