//! What partners ask of a house, one method a call, and the cards they ask it for.

use ridegate_proto::{
    partner::v1::{
        BatchProgress, Client, ConfirmDelegatedLinkRequest, ConfirmDelegatedLinkResponse, GetBatchRequest,
        GetBatchResponse, GetLinkRequest, GetLinkResponse, Link, LinkRiderRequest, Medium, MediumKind, Os,
        ReportLostRequest, ReportLostResponse, ReportReissuedRequest, ReportReissuedResponse,
        ReportReturnedRequest, ReportReturnedResponse, ResendDelegatedCodeRequest,
        ResendDelegatedCodeResponse, StartDelegatedLinkRequest, StartDelegatedLinkResponse,
        UnlinkRiderRequest, UnlinkRiderResponse, partner_service_client::PartnerServiceClient,
    },
    validator::v1::{CardKind, CardTap, CheckRequest, check_request},
};
use ridegate_sim::riders::Rider;
use tonic::{Response, Status};
use tonic_types::StatusExt;

use crate::house::{GATE, House, as_partner, link_request, partner_identity, request, said, subject};

/// The card company, and another partner that links its cards.
pub const COMPANY: &str = "yikatong";
pub const BUS: &str = "beijing-bus";
/// Readers tap as many cards as a test likes.
pub const MANY_TAPS: &str =
    "[cards]\nper_device_per_second = 100000\nper_device_burst = 100000\nmany_cards = 1000\n";

macro_rules! errands {
    ($($call:ident($request:ident) -> $response:ident;)*) => {
        impl House {
            $(pub async fn $call(&self, partner: &str, request: $request) -> Result<$response, Status> {
                let mut client = PartnerServiceClient::new(self.channel_of(&partner_identity(partner)));
                client.$call(as_partner(partner, request)).await.map(Response::into_inner)
            })*
        }
    };
}

errands! {
    get_link(GetLinkRequest) -> GetLinkResponse;
    unlink_rider(UnlinkRiderRequest) -> UnlinkRiderResponse;
    get_batch(GetBatchRequest) -> GetBatchResponse;
    report_lost(ReportLostRequest) -> ReportLostResponse;
    report_reissued(ReportReissuedRequest) -> ReportReissuedResponse;
    report_returned(ReportReturnedRequest) -> ReportReturnedResponse;
    start_delegated_link(StartDelegatedLinkRequest) -> StartDelegatedLinkResponse;
    resend_delegated_code(ResendDelegatedCodeRequest) -> ResendDelegatedCodeResponse;
    confirm_delegated_link(ConfirmDelegatedLinkRequest) -> ConfirmDelegatedLinkResponse;
}

impl House {
    /// The link of a medium, as this partner is told of it.
    pub async fn link_of(&self, partner: &str, medium: &Medium) -> Option<Link> {
        self.get_link(partner, GetLinkRequest { medium: Some(medium.clone()) }).await.unwrap().link
    }

    pub async fn unlink_medium(&self, partner: &str, medium: &Medium) -> bool {
        let request = UnlinkRiderRequest { medium: Some(medium.clone()) };
        self.unlink_rider(partner, request).await.unwrap().unlinked
    }

    /// How far a batch is, if this partner has begun it.
    pub async fn progress(&self, partner: &str, batch: &str) -> Option<BatchProgress> {
        let asked = self.get_batch(partner, GetBatchRequest { batch_id: batch.into(), from_row: 0 }).await;
        match asked {
            Ok(answer) => answer.progress,
            Err(status) => {
                assert_eq!(reason(&status), "NO_SUCH_BATCH");
                None
            }
        }
    }

    /// Verdict and reason of a card at the first gate.
    pub async fn card(&self, card: &Medium) -> String {
        said(&self.check(GATE, tap_of(card)).await.unwrap())
    }

    /// A healthy rider agrees to be linked; this is the code for it.
    pub fn agree(&self, rider: u64, code: &str) {
        self.authority.set(&subject(rider), Rider::Healthy.facts(self.clock.now()).unwrap());
        self.authority.authorise(code, &subject(rider));
    }

    /// A healthy rider asks this partner to link these: the result, refused positions, and full kinds.
    pub async fn ask(&self, partner: &str, rider: u64, media: &[Medium]) -> (i32, Vec<u32>, Vec<i32>) {
        let code = format!("code-{:032x}", rand::random::<u128>());
        self.agree(rider, &code);
        let answer = self.link(partner, of_media(&code, media.to_vec())).await.unwrap();
        (answer.result, answer.refused_media, answer.full_kinds)
    }
}

/// A request under this key and code, from an app that is new enough.
pub fn of_media(code: &str, media: Vec<Medium>) -> LinkRiderRequest {
    LinkRiderRequest {
        idempotency_key: code.into(),
        authorization_code: code.into(),
        media,
        client: Some(new_app()),
        ..link_request(1)
    }
}

pub fn new_app() -> Client {
    Client { os: Os::Ios.into(), app_version: "6.0".into() }
}

pub fn medium_of(kind: MediumKind, issuer: &str, account: impl Into<String>) -> Medium {
    Medium { kind: kind.into(), issuer: issuer.into(), account: account.into() }
}

pub fn yikatong(number: u64) -> Medium {
    medium_of(MediumKind::YikatongCard, "01001000", format!("10007511{number:08}"))
}

pub fn nfc(number: u64) -> Medium {
    medium_of(MediumKind::YikatongNfc, "01001000", format!("10007511{number:08}"))
}

/// Out of town: 19 digits that begin with 31, the last a check digit.
pub fn t_union(number: u64) -> Medium {
    medium_of(MediumKind::TUnionCard, "04403750", with_check_digit(&format!("3104403750{number:08}")))
}

/// A number with its check digit behind it (ISO/IEC 7812-1, annex B).
pub fn with_check_digit(number: &str) -> String {
    let digits = number.bytes().rev().map(|byte| u32::from(byte - b'0'));
    let doubled = |(place, digit): (usize, u32)| match place % 2 {
        0 => digit * 2 / 10 + digit * 2 % 10,
        _ => digit,
    };
    let sum: u32 = digits.enumerate().map(doubled).sum();
    format!("{number}{}", (10 - sum % 10) % 10)
}

/// A reader's tap of a card.
pub fn tap_of(card: &Medium) -> CheckRequest {
    let kind = match card.kind() {
        MediumKind::YikatongCard => CardKind::YikatongCard,
        MediumKind::YikatongNfc => CardKind::YikatongNfc,
        MediumKind::TUnionCard => CardKind::TUnionCard,
        MediumKind::SeniorCard => CardKind::SeniorCard,
        kind => panic!("{kind:?} is not tapped here"),
    };
    let tap = CardTap { kind: kind.into(), number: card.account.clone(), issuer: card.issuer.clone() };
    CheckRequest { medium: Some(check_request::Medium::Card(tap)), ..request("tap", vec![]) }
}

pub fn reason(status: &Status) -> String {
    status.get_details_error_info().unwrap().reason
}

/// The field that cannot be used, and what it must be.
pub fn field(status: &Status) -> (String, String) {
    assert_eq!(status.code(), tonic::Code::InvalidArgument, "{status:?}");
    let violation = status.get_details_bad_request().unwrap().field_violations.remove(0);
    (violation.field, violation.description)
}
