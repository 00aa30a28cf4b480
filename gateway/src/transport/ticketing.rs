//! `ridegate.ticketing.v1.TicketService`.

use std::{sync::Arc, time::Duration};

use ridegate_proto::ticketing::v1::{
    CheckSaleRequest, CheckSaleResponse, ReportSoldRequest, ReportSoldResponse, ReportUsedRequest,
    ReportUsedResponse, ticket_service_server::TicketService,
};
use tonic::{Request, Response, Status};

use super::{Fleets, calls, identity, status, wire};
use crate::{
    admission::{
        FieldError,
        quota::DeviceRates,
        sale::{SaleRequest, TicketNumber},
    },
    domain::ticket::SaleId,
    ticketing::Ticketing,
};

/// The service.
#[derive(Debug, Clone)]
pub struct TicketApi {
    /// What windows and machines do.
    pub ticketing: Arc<Ticketing>,
    /// How often each may ask.
    pub rates: Arc<DeviceRates>,
    /// What each fleet is told.
    pub fleets: Arc<Fleets>,
    /// The longest a verdict may take.
    pub budget: Duration,
    /// What is left of the caller's deadline for the way back.
    pub reply_margin: Duration,
}

#[tonic::async_trait]
impl TicketService for TicketApi {
    async fn check_sale(
        &self,
        request: Request<CheckSaleRequest>,
    ) -> Result<Response<CheckSaleResponse>, Status> {
        let window = identity::window(&request)?;
        // Before the number is looked at: what cannot be one is a guess too.
        self.rates.spend(&window).map_err(|over| status::device_over_quota(&window, over))?;
        let budget = calls::budget(&request, self.budget, self.reply_margin);
        let CheckSaleRequest { id_number, location } = request.into_inner();
        let request = SaleRequest::new(id_number, location).map_err(|error| status::field(&error))?;
        let checked = self.ticketing.check(request, budget).await;
        Ok(Response::new(CheckSaleResponse {
            verdict: wire::sale_verdict(checked.verdict()).into(),
            prompt: Some(wire::sale_prompt(checked.verdict(), self.fleets.help_line(&window.operator))),
            sale_id: checked.sale().map(|sale| sale.to_string()).unwrap_or_default(),
        }))
    }

    async fn report_sold(
        &self,
        request: Request<ReportSoldRequest>,
    ) -> Result<Response<ReportSoldResponse>, Status> {
        identity::window(&request)?;
        let ReportSoldRequest { sale_id, ticket } = request.into_inner();
        let sale = SaleId::parse(&sale_id)
            .ok_or_else(|| FieldError::new("sale_id", "must be the sale_id of an answer"))
            .map_err(|error| status::field(&error))?;
        let ticket = TicketNumber::new(ticket).map_err(|error| status::field(&error))?;
        self.ticketing.sold(sale, &ticket).await.map_err(|error| status::ticketing(&error))?;
        Ok(Response::new(ReportSoldResponse {}))
    }

    async fn report_used(
        &self,
        request: Request<ReportUsedRequest>,
    ) -> Result<Response<ReportUsedResponse>, Status> {
        identity::window(&request)?;
        let ticket = TicketNumber::new(request.into_inner().ticket).map_err(|error| status::field(&error))?;
        let was_open = self.ticketing.used(&ticket).await.map_err(|error| status::ticketing(&error))?;
        Ok(Response::new(ReportUsedResponse { was_open }))
    }
}
