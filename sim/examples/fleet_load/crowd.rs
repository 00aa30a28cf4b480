//! Riders who have linked, and the codes that they will show, signed ahead.

use std::sync::Arc;

use jiff::Timestamp;
use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;
use ridegate_proto::{
    partner::v1::{
        Channel as LinkChannel, Consent, LinkResult, LinkRiderRequest,
        partner_service_client::PartnerServiceClient,
    },
    validator::v1::{CheckRequest, Direction, check_request::Medium},
};
use ridegate_sim::{
    city::START,
    riders::{Rider, wire},
    trust::{Phone, Trust},
};
use tokio::task::{JoinSet, spawn_blocking};

use crate::{
    load::identified,
    stand::{Fleet, Stand},
};

const PARTNER: &str = "yikatong";
const VALIDITY_S: u16 = 1200;
/// Riders who are used up before anything is measured.
pub const ASIDE: usize = 64;
/// Codes of a rider's first phone.
const CODES: u32 = 4;

/// What is known of a rider where a code is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub enum Case {
    /// Nothing: link from the registry, facts from the authority, two signatures.
    Cold,
    /// Everything: one signature.
    Warm,
    /// Everything, but every other rider has a new phone: one signature, or two.
    Half,
    /// Nothing here, everything at another replica: two signatures.
    Second,
}

impl Case {
    pub const ALL: [Self; 4] = [Self::Cold, Self::Warm, Self::Half, Self::Second];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Cold => "cold",
            Self::Warm => "warm",
            Self::Half => "warm, half first taps",
            Self::Second => "second replica",
        }
    }
}

pub struct Crowd {
    /// By rider: the codes of the first phone, then one of the second.
    codes: Vec<Vec<Vec<u8>>>,
}

impl Crowd {
    /// Links riders at a gateway that is gone afterwards, and signs.
    pub async fn gather(count: usize, stand: &Stand) -> Self {
        let noon: Timestamp = START.parse().unwrap();
        let all = count + ASIDE;
        let fleet = Fleet::start(stand, 1, None).await;
        let channel = fleet.channels(1).await.remove(0).remove(0);
        let mut tasks = JoinSet::new();
        let next = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        for _ in 0..16 {
            let (channel, next, authority) = (channel.clone(), Arc::clone(&next), stand.authority.clone());
            let trust = Arc::clone(&stand.trust);
            tasks.spawn(async move {
                let shows = trust.partner(PARTNER).unwrap();
                let mut client = PartnerServiceClient::new(channel);
                loop {
                    let rider = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    if rider >= all {
                        return;
                    }
                    let (code, account) = (format!("code-{rider}"), shows.account(rider));
                    authority.authorise(&code, &format!("subject-{rider}"));
                    authority.set(&format!("subject-{rider}"), Rider::Healthy.facts(noon).unwrap());
                    let request = LinkRiderRequest {
                        idempotency_key: format!("link-{rider}"),
                        media: vec![shows.medium(&account)],
                        authorization_code: code,
                        consent: Some(Consent {
                            wording_version: "2022-06".into(),
                            granted_at: Some(wire(noon)),
                            purpose: "health check at gates".into(),
                        }),
                        channel: LinkChannel::App.into(),
                        client: None,
                    };
                    let identity = format!("urn:ridegate:partner:{PARTNER}");
                    let linked = client.link_rider(identified(&identity, request)).await.unwrap();
                    assert_eq!(linked.into_inner().result(), LinkResult::Linked);
                }
            });
        }
        let trust = Arc::clone(&stand.trust);
        let signing = spawn_blocking(move || sign(&trust, all, u32::try_from(noon.as_second()).unwrap()));
        tasks.join_all().await;
        Self { codes: signing.await.unwrap() }
    }

    /// One tap of every rider, by replica.
    pub fn taps(&self, case: Case, replicas: usize) -> Vec<Vec<CheckRequest>> {
        let mut taps = vec![Vec::new(); replicas];
        for (rider, codes) in self.codes.iter().enumerate().skip(ASIDE) {
            let (on, code) = match case {
                Case::Cold => (0, 0),
                Case::Warm => (0, 1),
                Case::Half => (0, if rider.is_multiple_of(2) { 2 } else { CODES as usize }),
                Case::Second => (1, 3),
            };
            // By pairs, so that every replica has both kinds of riders.
            taps[(rider / 2 + on) % replicas].push(tap(&format!("{}-{rider}", case.name()), &codes[code]));
        }
        taps
    }

    /// All codes there are, of linked riders.
    pub fn codes(&self) -> impl Iterator<Item = &Vec<u8>> {
        self.codes.iter().skip(ASIDE).flatten()
    }

    /// A tap of a rider who is used for nothing else.
    pub fn aside(&self, rider: usize) -> CheckRequest {
        tap(&format!("aside-{rider}"), &self.codes[rider][0])
    }
}

fn sign(trust: &Trust, count: usize, noon: u32) -> Vec<Vec<Vec<u8>>> {
    let shows = trust.partner(PARTNER).unwrap();
    let mut rng = ChaCha20Rng::seed_from_u64(2022);
    let mut phone =
        |rider| shows.authorise(&shows.account(rider), noon + 86_400, VALIDITY_S, &mut rng).unwrap();
    let code = |phone: &Phone, age: u32| phone.code(noon - 30 - age).unwrap();
    (0..count)
        .map(|rider| {
            let (first, second) = (phone(rider), phone(rider));
            let codes = (0..CODES).map(|age| code(&first, age));
            codes.chain([code(&second, CODES)]).collect()
        })
        .collect()
}

pub fn tap(request_id: &str, code: &[u8]) -> CheckRequest {
    CheckRequest {
        request_id: request_id.to_owned(),
        medium: Some(Medium::QrCode(code.to_vec().into())),
        direction: Direction::Entry.into(),
        location: "xizhimen".into(),
        device_id: String::new(),
        scanned_at: None,
    }
}
