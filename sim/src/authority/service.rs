//! What the authority answers.

use std::sync::atomic::Ordering::Relaxed;

use ridegate_proto::authority::v1::{
    BatchExchangeAuthorizationRequest, BatchExchangeAuthorizationResponse, BatchLookupRequest,
    BatchLookupResponse, ConfirmDelegationRequest, ConfirmDelegationResponse, ExchangeAuthorizationRequest,
    ExchangeAuthorizationResponse, ExchangeOutcome, ExchangedAuthorization, Facts, IdentifyForTicketRequest,
    IdentifyForTicketResponse, LookupRequest, LookupResponse, ResendDelegationRequest,
    ResendDelegationResponse, StartDelegationRequest, StartDelegationResponse, SubjectFacts,
    WatchChangesRequest, WatchChangesResponse, health_authority_server::HealthAuthority,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Response, Status};

use super::Authority;

#[tonic::async_trait]
impl HealthAuthority for Authority {
    async fn exchange_authorization(
        &self,
        request: Request<ExchangeAuthorizationRequest>,
    ) -> Result<Response<ExchangeAuthorizationResponse>, Status> {
        self.0.exchanges.fetch_add(1, Relaxed);
        self.0.hosted.temper().await?;
        let subject = self.exchange(&request.into_inner())?;
        Ok(Response::new(ExchangeAuthorizationResponse { subject }))
    }

    async fn batch_exchange_authorization(
        &self,
        request: Request<BatchExchangeAuthorizationRequest>,
    ) -> Result<Response<BatchExchangeAuthorizationResponse>, Status> {
        self.0.hosted.temper().await?;
        let exchange = |request: ExchangeAuthorizationRequest| {
            self.0.exchanges.fetch_add(1, Relaxed);
            let (outcome, subject) = match self.exchange(&request) {
                Ok(subject) => (ExchangeOutcome::Exchanged, subject),
                Err(status) if status.code() == Code::NotFound => (ExchangeOutcome::Unknown, String::new()),
                Err(_) => (ExchangeOutcome::Used, String::new()),
            };
            ExchangedAuthorization {
                idempotency_key: request.idempotency_key,
                outcome: outcome.into(),
                subject,
            }
        };
        let results = request.into_inner().exchanges.into_iter().map(exchange).collect();
        Ok(Response::new(BatchExchangeAuthorizationResponse { results }))
    }

    async fn start_delegation(
        &self,
        request: Request<StartDelegationRequest>,
    ) -> Result<Response<StartDelegationResponse>, Status> {
        self.0.delegations.fetch_add(1, Relaxed);
        self.0.hosted.temper().await?;
        let StartDelegationRequest { authorization_code, idempotency_key } = request.into_inner();
        self.state().delegations.start(&authorization_code, idempotency_key).map(Response::new)
    }

    async fn resend_delegation(
        &self,
        request: Request<ResendDelegationRequest>,
    ) -> Result<Response<ResendDelegationResponse>, Status> {
        self.0.delegations.fetch_add(1, Relaxed);
        self.0.hosted.temper().await?;
        self.state().delegations.resend(&request.into_inner().delegation)?;
        Ok(Response::new(ResendDelegationResponse {}))
    }

    async fn confirm_delegation(
        &self,
        request: Request<ConfirmDelegationRequest>,
    ) -> Result<Response<ConfirmDelegationResponse>, Status> {
        self.0.delegations.fetch_add(1, Relaxed);
        self.0.hosted.temper().await?;
        let ConfirmDelegationRequest { delegation, code } = request.into_inner();
        let subject = self.state().delegations.confirm(&delegation, &code)?;
        Ok(Response::new(ConfirmDelegationResponse { subject }))
    }

    async fn identify_for_ticket(
        &self,
        request: Request<IdentifyForTicketRequest>,
    ) -> Result<Response<IdentifyForTicketResponse>, Status> {
        self.0.identified.fetch_add(1, Relaxed);
        self.0.hosted.temper().await?;
        let subject = self.state().numbers.get(&request.into_inner().id_number).cloned();
        let subject = subject.ok_or_else(|| Status::not_found("number"))?;
        Ok(Response::new(IdentifyForTicketResponse { subject }))
    }

    async fn lookup(&self, request: Request<LookupRequest>) -> Result<Response<LookupResponse>, Status> {
        self.0.lookups.fetch_add(1, Relaxed);
        let subjects = [request.into_inner().subject];
        if self.look_up(&subjects).await? {
            return Ok(Response::new(LookupResponse { facts: Some(Facts::default()) }));
        }
        let facts = self.state().people.get(&subjects[0]).cloned();
        let facts = facts.ok_or_else(|| Status::not_found("subject"))?;
        Ok(Response::new(LookupResponse { facts: Some(facts) }))
    }

    async fn batch_lookup(
        &self,
        request: Request<BatchLookupRequest>,
    ) -> Result<Response<BatchLookupResponse>, Status> {
        self.0.batches.fetch_add(1, Relaxed);
        let subjects = request.into_inner().subjects;
        let confused = self.look_up(&subjects).await?;
        let state = self.state();
        let known = |subject: String| {
            let facts = if confused { Some(Facts::default()) } else { state.people.get(&subject).cloned() };
            SubjectFacts { subject, facts }
        };
        let results = subjects.into_iter().map(known).collect();
        Ok(Response::new(BatchLookupResponse { results }))
    }

    type WatchChangesStream = ReceiverStream<Result<WatchChangesResponse, Status>>;

    async fn watch_changes(
        &self,
        request: Request<WatchChangesRequest>,
    ) -> Result<Response<Self::WatchChangesStream>, Status> {
        self.0.hosted.temper().await?;
        let cursor = request.into_inner().cursor;
        let now = self.state().log.len();
        let from = if cursor.is_empty() {
            now
        } else {
            cursor.parse().map_err(|_| Status::out_of_range("cursor"))?
        };
        if let Err(refused) = self.next_change(from) {
            self.0.refused_watches.fetch_add(1, Relaxed);
            return Err(refused);
        }
        let (watcher, told) = mpsc::channel(16);
        tokio::spawn(self.clone().tell(from, watcher));
        Ok(Response::new(ReceiverStream::new(told)))
    }
}
