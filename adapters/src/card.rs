//! Cards that riders tap (D2), and media that are not accepted (D3).

mod issuing;

use serde::Deserialize;

pub use issuing::CardIssuing;
pub(crate) use issuing::check;

/// Kinds of cards that get a verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CardKind {
    /// A Yikatong card.
    YikatongCard,
    /// A Yikatong on a phone, over NFC.
    YikatongNfc,
    /// A T-Union card (交通联合) from out of town.
    TUnionCard,
    /// The concession card for seniors and disabled people (养老助残卡).
    SeniorCard,
    /// The civil-affairs concession card (民政一卡通).
    CivilAffairsCard,
    /// The disability-service concession card (残疾人服务一卡通).
    DisabilityServiceCard,
}

impl CardKind {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::YikatongCard,
        Self::YikatongNfc,
        Self::TUnionCard,
        Self::SeniorCard,
        Self::CivilAffairsCard,
        Self::DisabilityServiceCard,
    ];

    /// Its name, as profiles and links' keys hold it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::YikatongCard => "yikatong-card",
            Self::YikatongNfc => "yikatong-nfc",
            Self::TUnionCard => "t-union-card",
            Self::SeniorCard => "senior-card",
            Self::CivilAffairsCard => "civil-affairs-card",
            Self::DisabilityServiceCard => "disability-service-card",
        }
    }

    /// Whether the card company links it without any act of its holder (D9).
    pub const fn is_concession(self) -> bool {
        matches!(self, Self::SeniorCard | Self::CivilAffairsCard | Self::DisabilityServiceCard)
    }

    /// Whether a person may have one linked at a time (D6).
    pub const fn is_one_per_person(self) -> bool {
        matches!(self, Self::YikatongCard | Self::YikatongNfc)
    }
}

/// Media that are not accepted, each with its own clear answer (D3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RefusedMedium {
    /// A UnionPay bank card.
    UnionpayBankCard,
    /// A digital-RMB wearable.
    DigitalRmbWearable,
    /// Alipay's prepaid electronic single ticket.
    AlipayPrepaidTicket,
    /// An air-rail through ticket.
    AirRailTicket,
}

impl RefusedMedium {
    /// All of them.
    pub const ALL: [Self; 4] =
        [Self::UnionpayBankCard, Self::DigitalRmbWearable, Self::AlipayPrepaidTicket, Self::AirRailTicket];
}
