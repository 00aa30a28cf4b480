//! Riders of the run, their phones, and what is shown.

use std::collections::{BTreeSet, HashMap};

use jiff::SignedDuration;
use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;
use ridegate_gateway::clock::Clock;
use ridegate_proto::{
    authority::v1::Facts,
    partner::v1::{Channel as LinkChannel, Consent, LinkRiderRequest, Medium},
};
use ridegate_sim::{
    riders::{Rider as Kind, wire},
    trust::{Phone, Shows, Trust},
};

use crate::plan::{Class, MIX, Plan, Story};

/// Seconds that a code lives.
const VALIDITY: u16 = 300;
/// Seconds since 1970 at 2022-06-15T12:00:00+08:00, when every run begins.
pub const NOON: u32 = 1_655_265_600;
pub const NOON_TEXT: &str = "2022-06-15T12:00:00+08:00";
/// A code too old is this much older than its time.
const TOO_OLD: u32 = 400;
/// Of all partners' riders these have codes that only the partner reads: as many as one in so many.
const ONLINE_EVERY: usize = 6;

/// Somebody with a phone.
#[derive(Clone)]
pub struct Rider {
    pub partner: String,
    pub medium: Medium,
    pub subject: String,
    pub phone: Phone,
}

pub struct City {
    pub trust: Trust,
    /// Partners whose codes are signed, each as often as its riders come, and the others.
    signed: Vec<String>,
    online: Vec<String>,
    riders: HashMap<Class, Vec<Rider>>,
}

impl City {
    /// Everybody of this plan; the phones are the seed's too.
    pub fn of(plan: &Plan) -> Self {
        let trust = Trust::new(&mut ChaCha20Rng::seed_from_u64(plan.seed)).unwrap();
        let (mut signed, mut online) = (vec![], vec![]);
        for (partner, shows) in trust.partners() {
            let (of_its_kind, weight) = match shows {
                Shows::Online(_) => (&mut online, 1),
                // Signing them takes long.
                Shows::Alipay(_) => (&mut signed, 1),
                Shows::Mot(..) => (&mut signed, 4),
            };
            of_its_kind.extend(vec![partner.to_owned(); weight]);
        }
        let mut city = Self { trust, signed, online, riders: HashMap::new() };
        let mut number = 0;
        for (class, _) in MIX {
            let many = plan.riders(class);
            let riders = (0..many).map(|_| {
                number += 1;
                city.person(class, number)
            });
            let riders = riders.collect();
            city.riders.insert(class, riders);
        }
        city
    }

    fn person(&self, class: Class, number: usize) -> Rider {
        // A partner must be asked whether its code is genuine: what is forged or old is told apart from what cannot be read.
        let reads_itself = !matches!(class, Class::Forged | Class::Expired);
        let partner = if number.is_multiple_of(ONLINE_EVERY) && reads_itself {
            &self.online[number / ONLINE_EVERY % self.online.len()]
        } else {
            &self.signed[number % self.signed.len()]
        };
        self.rider(partner, number)
    }

    fn rider(&self, partner: &str, number: usize) -> Rider {
        let shows = self.trust.partner(partner).unwrap();
        let online = matches!(shows, Shows::Online(_));
        // Their numbers are few.
        let account = shows.account(if online { number / ONLINE_EVERY } else { number });
        let mut rng = ChaCha20Rng::seed_from_u64(u64::try_from(number).unwrap());
        let phone = shows.authorise(&account, NOON + 2 * 86_400, VALIDITY, &mut rng).unwrap();
        let subject = format!("soak-{partner}-{number}");
        Rider { partner: partner.to_owned(), medium: shows.medium(&account), subject, phone }
    }

    /// Whose turn it is.
    pub fn rider_of(&self, class: Class, turn: u32) -> &Rider {
        let riders = &self.riders[&class];
        &riders[turn as usize % riders.len()]
    }

    /// Everybody who is there from the start, and what the authority says of each.
    pub fn riders(&self) -> impl Iterator<Item = (Class, &Rider)> {
        MIX.iter().flat_map(|(class, _)| self.riders[class].iter().map(|rider| (*class, rider)))
    }

    /// Who comes with this story.
    pub fn newcomer(&self, story: &Story) -> Rider {
        let partner = &self.signed[story.partner as usize % self.signed.len()];
        self.rider(partner, 1_000_000 + story.number as usize)
    }

    /// Every partner's name.
    pub fn partners(&self) -> BTreeSet<&String> {
        self.signed.iter().chain(&self.online).collect()
    }
}

impl Rider {
    /// What is shown at this second.
    pub fn shows(&self, class: Class, second: u32) -> Vec<u8> {
        match class {
            Class::Forged => self.phone.forged(second, &mut ChaCha20Rng::seed_from_u64(7)).unwrap(),
            Class::Expired => self.phone.code(second - TOO_OLD).unwrap(),
            _ => self.phone.code(second).unwrap(),
        }
    }

    /// The one call that links the account, under a key of its own.
    pub fn link(&self) -> LinkRiderRequest {
        LinkRiderRequest {
            idempotency_key: format!("key-{}", self.subject),
            media: vec![self.medium.clone()],
            authorization_code: self.authorization(),
            consent: Some(Consent {
                wording_version: "1".into(),
                granted_at: Some(wire(NOON_TEXT.parse().unwrap())),
                purpose: "gates".into(),
            }),
            channel: LinkChannel::App.into(),
            client: None,
        }
    }

    pub fn authorization(&self) -> String {
        format!("code-{}", self.subject)
    }
}

impl Class {
    const fn kind(self) -> Kind {
        match self {
            Self::Healthy | Self::Forged | Self::Expired | Self::Out | Self::Asked | Self::Copied => {
                Kind::Healthy
            }
            Self::Exempt => Kind::Exempt,
            Self::Overdue => Kind::Overdue,
            Self::Abnormal => Kind::Abnormal,
            Self::Popup => Kind::Popup,
            Self::NoRecord => Kind::NoRecord,
            Self::NotLinked => Kind::Unlinked,
        }
    }

    pub fn is_linked(self) -> bool {
        self.kind().is_linked()
    }

    /// What the authority says, if anything.
    pub fn facts(self, clock: &Clock) -> Option<Facts> {
        // As of a little ago: what changes later is newer.
        self.kind().facts(clock.now() - SignedDuration::from_secs(1))
    }
}

/// Healthy, and red.
pub fn healthy(clock: &Clock) -> Facts {
    Kind::Healthy.facts(clock.now() - SignedDuration::from_secs(1)).unwrap()
}

pub fn red(clock: &Clock) -> Facts {
    let facts = Kind::Abnormal.facts(clock.now()).unwrap();
    Facts { state: ridegate_proto::authority::v1::HealthState::Red.into(), ..facts }
}
