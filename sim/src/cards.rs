//! Riders who tap a card instead of showing a code.

use anyhow::{Result, ensure};
use ridegate_proto::{
    partner::v1::{
        BatchLinkRequest, BatchRow, BatchRowResult, BatchRows, BatchStart, Channel as LinkChannel, Client,
        Consent, LinkResult, LinkRiderRequest, Medium, MediumKind, Os, batch_link_request::Part,
        partner_service_client::PartnerServiceClient,
    },
    validator::v1::{CardKind, CardTap},
};

use crate::{
    city::City,
    riders::{Rider, wire},
};

/// Who links the city's cards, and issues Beijing's own.
pub(crate) const COMPANY: &str = "yikatong";
/// So few that no gate ever sees enough different ones to be told of.
pub(crate) const OF_EACH: usize = 6;

/// What riders tap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Card {
    /// A Yikatong card.
    Yikatong,
    /// A Yikatong on a phone.
    Nfc,
    /// A card from out of town.
    TUnion,
    /// A concession card, linked by the card company.
    Senior,
    /// A Yikatong card that nobody has linked.
    Unlinked,
    /// A bank card: not accepted.
    Bank,
}

/// Those whose holders have linked them.
const LINKED: [Card; 3] = [Card::Yikatong, Card::Nfc, Card::TUnion];

impl Card {
    /// Whether the answer names the company.
    pub(crate) const fn is_known(self) -> bool {
        matches!(self, Self::Yikatong | Self::Nfc | Self::Senior | Self::Unlinked)
    }

    /// What the reader reads of the card whose turn it is.
    pub(crate) fn tap(self, turn: usize) -> CardTap {
        let kind = match self {
            Self::Yikatong | Self::Unlinked => CardKind::YikatongCard,
            Self::Nfc => CardKind::YikatongNfc,
            Self::TUnion => CardKind::TUnionCard,
            Self::Senior => CardKind::SeniorCard,
            Self::Bank => return CardTap { kind: CardKind::UnionpayBankCard.into(), ..CardTap::default() },
        };
        CardTap { kind: kind.into(), number: self.number(turn), issuer: self.issuer().to_owned() }
    }

    /// As a partner states it.
    pub(crate) fn medium(self, turn: usize) -> Medium {
        let kind = match self {
            Self::Nfc => MediumKind::YikatongNfc,
            Self::TUnion => MediumKind::TUnionCard,
            Self::Senior => MediumKind::SeniorCard,
            Self::Yikatong | Self::Unlinked | Self::Bank => MediumKind::YikatongCard,
        };
        Medium { kind: kind.into(), issuer: self.issuer().to_owned(), account: self.number(turn) }
    }

    /// The authority's name for its holder.
    pub(crate) fn holder(self, turn: usize) -> String {
        format!("card-{self:?}-{turn}")
    }

    const fn issuer(self) -> &'static str {
        match self {
            Self::TUnion => "04403750",
            Self::Senior => "01001001",
            Self::Yikatong | Self::Nfc | Self::Unlinked | Self::Bank => "01001000",
        }
    }

    /// 16 digits; out of town, 19 that begin with 31, the last a check digit.
    fn number(self, turn: usize) -> String {
        let number = format!("{:02}{:04}", self as u8, turn % OF_EACH);
        match self {
            Self::TUnion => with_check_digit(&format!("310440375000{number}")),
            _ => format!("1000751100{number}"),
        }
    }
}

/// A number with its check digit behind it (ISO/IEC 7812-1, annex B).
fn with_check_digit(number: &str) -> String {
    let digits = number.bytes().rev().map(|byte| u32::from(byte - b'0'));
    let sum: u32 = digits
        .enumerate()
        .map(|(place, digit)| if place % 2 == 0 { digit * 2 / 10 + digit * 2 % 10 } else { digit })
        .sum();
    format!("{number}{}", (10 - sum % 10) % 10)
}

impl City {
    /// Their holders are healthy and link their cards; the company links concession cards.
    pub(crate) async fn link_cards(&self) -> Result<()> {
        let mut client = PartnerServiceClient::new(self.channel(&format!("urn:ridegate:partner:{COMPANY}"))?);
        let now = self.clock.now();
        let consent = Consent {
            wording_version: "2022-06".into(),
            granted_at: Some(wire(now)),
            purpose: "health check at gates".into(),
        };
        for (card, turn) in LINKED.into_iter().flat_map(|card| (0..OF_EACH).map(move |turn| (card, turn))) {
            let rider = self.holder(card, turn);
            let request = LinkRiderRequest {
                idempotency_key: rider.clone(),
                media: vec![card.medium(turn)],
                authorization_code: rider,
                consent: Some(consent.clone()),
                channel: LinkChannel::App.into(),
                client: Some(Client { os: Os::Harmonyos.into(), app_version: "5.4.2.0".into() }),
            };
            let result = client.link_rider(request).await?.into_inner().result();
            ensure!(result == LinkResult::Linked, "a card was not linked: {result:?}");
        }
        let start = BatchStart { batch_id: "seniors".into(), consent: Some(consent) };
        let row = |turn| BatchRow {
            medium: Some(Card::Senior.medium(turn)),
            authorization_code: self.holder(Card::Senior, turn),
        };
        let rows = BatchRows { first_row: 0, rows: (0..OF_EACH).map(row).collect() };
        let batch = [Part::Start(start), Part::Rows(rows)].map(|part| BatchLinkRequest { part: Some(part) });
        let done =
            client.batch_link(tokio_stream::iter(batch)).await?.into_inner().progress.unwrap_or_default();
        let linked = done.counts.iter().find(|count| count.result() == BatchRowResult::Linked);
        ensure!(linked.is_some_and(|count| count.rows == OF_EACH as u64), "a concession card was not linked");
        Ok(())
    }

    /// The holder of a card, whom the authority knows; also the code with which it is linked.
    fn holder(&self, card: Card, turn: usize) -> String {
        let rider = card.holder(turn);
        self.authority.authorise(&rider, &rider);
        if let Some(facts) = Rider::Healthy.facts(self.clock.now()) {
            self.authority.set(&rider, facts);
        }
        rider
    }
}
