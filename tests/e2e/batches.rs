//! The card company's bulk links, over the wire.

use ridegate_proto::partner::v1::{
    BatchLinkRequest, BatchLinkResponse, BatchRow, BatchRows, BatchStart, Medium, MediumKind,
    batch_link_request::Part, partner_service_client::PartnerServiceClient,
};
use tonic::{Response, Status};

use crate::house::{House, PARTNER, as_partner, link_request, partner_identity};

/// A senior card of the first card company.
pub fn senior(number: u64) -> Medium {
    Medium {
        kind: MediumKind::SeniorCard.into(),
        issuer: "01001001".into(),
        account: format!("{number:016}"),
    }
}

pub fn start(batch: &str) -> BatchLinkRequest {
    let start = BatchStart { batch_id: batch.into(), consent: link_request(1).consent };
    BatchLinkRequest { part: Some(Part::Start(start)) }
}

pub fn rows(first_row: u64, rows: Vec<BatchRow>) -> BatchLinkRequest {
    BatchLinkRequest { part: Some(Part::Rows(BatchRows { first_row, rows })) }
}

pub fn row(medium: Medium, code: &str) -> BatchRow {
    BatchRow { medium: Some(medium), authorization_code: code.into() }
}

impl House {
    /// Sends these messages as one stream.
    pub async fn batch(
        &self,
        partner: &str,
        messages: Vec<BatchLinkRequest>,
    ) -> Result<BatchLinkResponse, Status> {
        let mut client = PartnerServiceClient::new(self.channel_of(&partner_identity(partner)));
        client.batch_link(as_partner(partner, tokio_stream::iter(messages))).await.map(Response::into_inner)
    }

    /// Links one concession card to the rider of this code.
    pub async fn link_concession(&self, medium: Medium, code: &str) {
        let id = format!("batch-{}-{}", medium.kind, medium.account);
        let done = self.batch(PARTNER, vec![start(&id), rows(0, vec![row(medium, code)])]).await.unwrap();
        let progress = done.progress.unwrap();
        assert_eq!((progress.rows_done, progress.counts[0].result), (1, 1), "linked");
    }
}
