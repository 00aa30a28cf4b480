//! The profiles that come with the gateway. Their keys are test keys: production loads its own.

use thiserror::Error;

use crate::{MotTrust, PartnerConflict, Partners, Profile, ProfileError, TrustError};

const PROFILES: [&str; 11] = [
    include_str!("../partners/yikatong.toml"),
    include_str!("../partners/beijing-bus.toml"),
    include_str!("../partners/alipay.toml"),
    include_str!("../partners/guangzhou-metro.toml"),
    include_str!("../partners/hohhot-metro.toml"),
    include_str!("../partners/chongqing-metro.toml"),
    include_str!("../partners/tianjin-metro.toml"),
    include_str!("../partners/yitongxing.toml"),
    include_str!("../partners/unionpay.toml"),
    include_str!("../partners/cmb.toml"),
    include_str!("../partners/shanghai-metro.toml"),
];

const MOT_TRUST: &str = include_str!("../mot-trust.toml");

/// What ships does not load; a test keeps this from happening.
#[derive(Debug, Error)]
pub enum ShippedError {
    /// A profile.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// The MOT roots.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// Two profiles.
    #[error(transparent)]
    Conflict(#[from] PartnerConflict),
}

impl Partners {
    /// The partners that ship with the gateway, with test keys throughout.
    pub fn shipped() -> Result<Self, ShippedError> {
        Ok(Self::new(Profile::shipped()?, MotTrust::shipped()?)?)
    }
}

impl MotTrust {
    /// The test roots that ship with the gateway.
    pub fn shipped() -> Result<Self, TrustError> {
        Self::from_toml(MOT_TRUST)
    }
}

impl Profile {
    /// The profiles that ship with the gateway.
    pub fn shipped() -> Result<Vec<Self>, ProfileError> {
        PROFILES.into_iter().map(Self::from_toml).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CardKind, Os};

    #[test]
    fn what_ships_loads_and_says_that_it_is_for_tests() {
        let partners = Partners::shipped().unwrap();
        assert_eq!(partners.iter().count(), 11);
        assert!(partners.iter().all(|profile| profile.test));
        assert!(partners.has_test_keys());
    }

    /// D2, D8, D9, D10.
    #[test]
    fn every_kind_of_card_is_linked_by_somebody_and_beijings_are_yikatongs() {
        let partners = Partners::shipped().unwrap();
        for kind in CardKind::ALL {
            let link: Vec<_> = partners.iter().filter(|profile| profile.links_card(kind)).collect();
            let issue: Vec<_> = link
                .iter()
                .filter(|profile| profile.issues_card(kind))
                .map(|profile| profile.id.as_str())
                .collect();
            let company: &[&str] = if kind == CardKind::TUnionCard { &[] } else { &["yikatong"] };
            assert_eq!(issue, company, "{kind:?}");
            assert_eq!(link.len(), if kind.is_concession() { 1 } else { 3 }, "{kind:?}");
        }
        for profile in partners.iter().filter(|profile| profile.links_card(CardKind::YikatongCard)) {
            let minimum = [Os::HarmonyOs, Os::Android, Os::Ios]
                .map(|os| profile.min_app_version(os).unwrap().to_string());
            assert_eq!(minimum, ["5.4.2.0", "5.4.2.0", "5.3.2.1"], "{}", profile.id);
        }
    }
}
