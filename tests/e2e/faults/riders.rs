//! Who taps: classes of riders, their phones, and what is right for each when nothing is broken.

use std::collections::HashMap;

use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;
use ridegate_proto::partner::v1::{LinkRiderRequest, Medium, MediumKind};
use ridegate_sim::{
    authority::Authority,
    issuing::{Key, Phone, Terms},
    riders::Rider,
    trust::{Phone as AnyPhone, Trust},
};

use super::cells::Upstream;
use crate::house::{ISSUER, PARTNER, digits, link_request, medium, subject};

/// What becomes of a tap hangs on this.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// Healthy; link and facts are remembered.
    Warm,
    /// The same, but not tested in time.
    Overdue,
    /// The same, but yellow.
    Abnormal,
    /// Healthy and linked, and never asked for yet.
    Cold,
    /// The same, but not tested in time.
    ColdOverdue,
    /// Never linked.
    Unlinked,
    /// Signed by somebody else.
    Forged,
    /// Too old.
    Expired,
    /// Used before, at another gate.
    Replay,
    /// A remembered rider of the partner whose resolver breaks.
    Online,
    /// A remembered rider of another partner that has a resolver.
    OtherOnline,
    /// On the way out: only the code is looked at.
    Leaving,
    /// No tap: a partner links somebody.
    Linking,
}

/// The partner whose resolver breaks, and another.
pub const ONLINE: [&str; 2] = ["yitongxing", "cmb"];
/// 12:00 on 2022-06-15 in Beijing.
const NOON: u32 = 1_655_265_600;
const WARM: u64 = 30;
const FEW: u64 = 5;

impl Class {
    /// What is right when nothing is broken.
    pub const fn well(self) -> &'static str {
        match self {
            Self::Warm | Self::Cold | Self::Online | Self::OtherOnline => "ALLOW HEALTH_OK",
            Self::Overdue | Self::Abnormal | Self::ColdOverdue => "INSPECT HEALTH",
            Self::Unlinked => "INSPECT NOT_LINKED",
            Self::Forged => "INSPECT CODE_UNTRUSTED",
            Self::Expired => "INSPECT CODE_EXPIRED",
            Self::Replay => "INSPECT CODE_REPLAYED",
            Self::Leaving => "ALLOW NOT_ENFORCED",
            Self::Linking => "LINKED",
        }
    }

    /// Whether there is no right answer without this one.
    pub const fn needs(self, who: Upstream) -> bool {
        match who {
            Upstream::Redis => false,
            Upstream::Registry => matches!(self, Self::Cold | Self::ColdOverdue | Self::Unlinked),
            Upstream::Authority => matches!(self, Self::Cold | Self::ColdOverdue),
            Upstream::Resolver => matches!(self, Self::Online),
        }
    }

    /// Whether the answer rests on less without this one.
    pub const fn rests_on(self, who: Upstream) -> bool {
        let remembered =
            matches!(self, Self::Warm | Self::Overdue | Self::Abnormal | Self::Online | Self::OtherOnline);
        match who {
            // Everything that takes a claim.
            Upstream::Redis => {
                remembered || matches!(self, Self::Cold | Self::ColdOverdue | Self::Unlinked | Self::Leaving)
            }
            Upstream::Registry | Upstream::Authority => remembered,
            Upstream::Resolver => false,
        }
    }
}

/// All of them, with their phones.
pub struct Riders {
    mot: HashMap<Class, Vec<Phone>>,
    online: HashMap<Class, Vec<AnyPhone>>,
    /// How often each class was asked for.
    turns: HashMap<Class, usize>,
    stranger: Key,
    /// Accounts that wait to be linked.
    links: std::ops::RangeFrom<u64>,
}

/// Everybody of a class, by account.
fn accounts(class: Class, cold: u64) -> std::ops::Range<u64> {
    let (first, count) = match class {
        Class::Warm => (1, WARM),
        Class::Overdue => (100, FEW),
        Class::Abnormal => (110, FEW),
        Class::Online => (200, FEW),
        Class::OtherOnline => (210, FEW),
        Class::Unlinked | Class::Forged | Class::Expired | Class::Leaving => (300, FEW),
        Class::Cold => (1_000, cold),
        Class::ColdOverdue => (5_000, cold / 3),
        Class::Replay | Class::Linking => (0, 0),
    };
    first..first + count
}

const LINKED: [(Class, Rider); 7] = [
    (Class::Warm, Rider::Healthy),
    (Class::Overdue, Rider::Overdue),
    (Class::Abnormal, Rider::Abnormal),
    (Class::Cold, Rider::Healthy),
    (Class::ColdOverdue, Rider::Overdue),
    (Class::Online, Rider::Healthy),
    (Class::OtherOnline, Rider::Healthy),
];

fn online(class: Class) -> Option<&'static str> {
    match class {
        Class::Online => Some(ONLINE[0]),
        Class::OtherOnline => Some(ONLINE[1]),
        _ => None,
    }
}

impl Riders {
    /// Everybody, so many of them cold. The authority is told of them.
    pub fn new(trust: &Trust, authority: &Authority, cold: u64) -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(9);
        let noon = "2022-06-15T12:00:00+08:00".parse().unwrap();
        for (class, rider) in LINKED {
            for account in accounts(class, cold) {
                authority.set(&subject(account), rider.facts(noon).unwrap());
                authority.authorise(&format!("code-{account}"), &subject(account));
            }
        }
        let of = |class| (class, accounts(class, cold).map(|account| phone(trust, account)).collect());
        let classes = [
            Class::Warm,
            Class::Overdue,
            Class::Abnormal,
            Class::Cold,
            Class::ColdOverdue,
            Class::Unlinked,
            Class::Forged,
            Class::Expired,
            Class::Leaving,
        ];
        let mot = classes.into_iter().map(of).collect();
        let mut shown = |class| {
            let shows = trust.partner(online(class).unwrap()).unwrap();
            let phone = |account| shows.authorise(&user(account), NOON + 2 * 86_400, 1200, &mut rng).unwrap();
            (class, accounts(class, cold).map(phone).collect())
        };
        let online = [shown(Class::Online), shown(Class::OtherOnline)].into();
        let stranger = Key::generate(&mut rng).unwrap();
        Self { mot, online, turns: HashMap::new(), stranger, links: 20_000.. }
    }

    /// Everybody who is to be linked: by whom, and how that is asked for.
    pub fn to_link(cold: u64) -> Vec<(&'static str, LinkRiderRequest)> {
        let each = LINKED.into_iter().flat_map(|(class, _)| {
            accounts(class, cold).map(move |account| match online(class) {
                None => (PARTNER, LinkRiderRequest { media: vec![medium(account)], ..link_request(account) }),
                Some(partner) => {
                    let kind = MediumKind::OnlineCode.into();
                    let medium = Medium { kind, issuer: String::new(), account: user(account) };
                    (partner, LinkRiderRequest { media: vec![medium], ..link_request(account) })
                }
            })
        });
        each.collect()
    }

    /// A code of everybody who is to be remembered.
    pub fn warming_taps(&mut self) -> Vec<(Class, Vec<u8>)> {
        let classes = [Class::Warm, Class::Overdue, Class::Abnormal, Class::Online, Class::OtherOnline];
        let each = classes.into_iter().flat_map(|class| accounts(class, 0).map(move |_| class));
        each.map(|class| self.code(class)).collect()
    }

    /// A code that nobody has shown, of whosever turn it is. When nobody is cold any more, of somebody who is warm.
    pub fn code(&mut self, class: Class) -> (Class, Vec<u8>) {
        let turn = self.turns.entry(class).or_default();
        let number = *turn;
        *turn += 1;
        let many = self.mot.get(&class).map_or(FEW.try_into().unwrap(), Vec::len);
        if matches!(class, Class::Cold | Class::ColdOverdue) && number >= many {
            return self.code(Class::Warm);
        }
        let (who, second) = (number % many, NOON - 10 - u32::try_from(number / many).unwrap());
        // Classes that share riders share no second.
        let apart = match class {
            Class::Forged => 300,
            Class::Expired => 1_300,
            Class::Leaving => 600,
            _ => 0,
        };
        let second = second - apart;
        let code = match class {
            Class::Online | Class::OtherOnline => self.online[&class][who].code(second),
            Class::Forged => self.mot[&class][who].forged(&self.stranger, second),
            class => self.mot[&class][who].code(second),
        };
        (class, code.unwrap())
    }

    /// An account that is to be linked. The authority must know of them.
    pub fn next_link(&mut self) -> u64 {
        self.links.next().unwrap()
    }

    /// Those that will be asked for.
    pub fn links() -> std::ops::Range<u64> {
        20_000..22_000
    }
}

/// How a partner that reads its own codes calls a rider.
fn user(account: u64) -> String {
    format!("U{account:09}")
}

fn phone(trust: &Trust, account: u64) -> Phone {
    let mut rng = ChaCha20Rng::seed_from_u64(account);
    let terms = Terms {
        account: digits(account),
        platform: ISSUER.into(),
        authorized_until: NOON + 2 * 86_400,
        validity: 1200,
        account_type: 1,
        custom: vec![],
    };
    trust.issuer(ISSUER).unwrap().authorise(Key::generate(&mut rng).unwrap(), &terms).unwrap()
}
