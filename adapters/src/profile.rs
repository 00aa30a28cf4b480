//! A partner as data.

use std::{fmt, num::NonZeroU32, sync::Arc};

use serde::Deserialize;
use thiserror::Error;

use crate::{Bcd8, alipay::AlipayIssuing};

/// A partner's short name, such as `yikatong`: lower-case letters, digits and hyphens.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PartnerId(Arc<str>);

impl PartnerId {
    /// The name, if it is 1 to 32 lower-case letters, digits and hyphens.
    pub fn new(name: &str) -> Option<Self> {
        let fits = (1..=32).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        fits.then(|| Self(name.into()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PartnerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for PartnerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for PartnerId {
    type Error = &'static str;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        Self::new(&name).ok_or("expected 1 to 32 lower-case letters, digits and hyphens")
    }
}

impl<'de> Deserialize<'de> for PartnerId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::try_from(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// Everything that makes a partner, read from one TOML file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// Short name; the partner's certificates carry it too.
    pub id: PartnerId,
    /// Name for people.
    pub name: Name,
    /// Home city.
    pub city: String,
    /// What kind of partner.
    pub kind: PartnerKind,
    /// Its keys are test keys: never for production.
    #[serde(default)]
    pub test: bool,
    /// The MOT codes it shows.
    #[serde(default)]
    pub mot: Vec<MotIssuing>,
    /// The Alipay codes it shows, if it does.
    pub alipay: Option<AlipayIssuing>,
    /// Its budgets, where they differ from the gateway's defaults.
    #[serde(default)]
    pub quota: QuotaProfile,
}

/// A name in two languages.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Name {
    /// Chinese.
    pub zh: String,
    /// English.
    pub en: String,
}

/// Kinds of partners.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PartnerKind {
    /// A card company.
    Card,
    /// A bus operator's app.
    Bus,
    /// A metro's app.
    Metro,
    /// A payment app.
    Payment,
}

/// One (platform, issuer) under which a partner shows MOT codes.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MotIssuing {
    /// Code platform (field 7).
    pub platform: Bcd8,
    /// Card issuer (field 6) and the certificate's.
    pub issuer: Bcd8,
    /// Account types (field 8) that are onboarded.
    pub account_types: Vec<u8>,
}

/// A partner's budgets; what is absent is the gateway's default.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuotaProfile {
    /// Codes a second on the verdict path.
    pub codes_per_second: Option<NonZeroU32>,
    /// Codes at once.
    pub codes_burst: Option<NonZeroU32>,
    /// RPCs a second.
    pub calls_per_second: Option<NonZeroU32>,
    /// RPCs at once.
    pub calls_burst: Option<NonZeroU32>,
}

/// A profile that cannot be used.
#[derive(Debug, Error)]
pub enum ProfileError {
    /// Not TOML, a key unknown or missing, or a value that cannot be.
    #[error("{0}")]
    Toml(#[from] toml::de::Error),
    /// No format, so no code could ever be its own.
    #[error("no format: a partner needs [[mot]] or [alipay]")]
    NoFormat,
    /// Account types are empty: every code would be refused.
    #[error("mot.account_types is empty: list the account types that are onboarded")]
    NoAccountTypes,
}

impl Profile {
    /// Reads a profile from TOML. Unknown keys are refused.
    pub fn from_toml(text: &str) -> Result<Self, ProfileError> {
        let profile: Self = toml::from_str(text)?;
        if profile.mot.is_empty() && profile.alipay.is_none() {
            return Err(ProfileError::NoFormat);
        }
        if profile.mot.iter().any(|issuing| issuing.account_types.is_empty()) {
            return Err(ProfileError::NoAccountTypes);
        }
        Ok(profile)
    }

    /// How it issues under a platform and issuer, if it does.
    pub(crate) fn mot_issuing(&self, platform: Bcd8, issuer: Bcd8) -> Option<&MotIssuing> {
        self.mot.iter().find(|issuing| issuing.platform == platform && issuing.issuer == issuer)
    }

    /// Whether it shows codes of this card issuer on any platform.
    pub fn issues_mot(&self, issuer: Bcd8) -> bool {
        self.mot.iter().any(|issuing| issuing.issuer == issuer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
        id = "x-metro"
        name = { zh = "某地铁", en = "X Metro" }
        city = "X"
        kind = "metro"
        [[mot]]
        platform = "99990009"
        issuer = "99990009"
        account_types = [1]
    "#;

    fn refusal(from: &str, to: &str) -> String {
        assert!(GOOD.contains(from));
        Profile::from_toml(&GOOD.replace(from, to)).unwrap_err().to_string()
    }

    #[test]
    fn a_profile_is_read() {
        let profile = Profile::from_toml(GOOD).unwrap();
        assert_eq!(profile.id.as_str(), "x-metro");
        assert!(!profile.test);
        assert!(profile.issues_mot("99990009".parse().unwrap()));
        assert!(!profile.issues_mot("99990008".parse().unwrap()));
    }

    #[test]
    fn a_misspelt_key_is_refused_by_name() {
        assert!(refusal("city", "citty").contains("citty"));
    }

    #[test]
    fn values_that_cannot_be_are_refused_with_what_is_allowed() {
        assert!(
            refusal("\"99990009\"\n        issuer", "\"9999000\"\n        issuer")
                .contains("8 decimal digits")
        );
        assert!(refusal("x-metro", "X Metro").contains("lower-case"));
        assert!(refusal("\"metro\"", "\"ferry\"").contains("`card`, `bus`, `metro`, `payment`"));
        assert!(refusal("[1]", "[]").contains("account_types"));
        assert!(refusal("[1]", "[256]").contains("256"));
    }

    /// A profile with this section after its first lines.
    fn with(section: &str) -> Result<Profile, String> {
        let head = GOOD.split("[[mot]]").next().unwrap();
        Profile::from_toml(&format!("{head}{section}")).map_err(|error| error.to_string())
    }

    const ALIPAY: &str = r#"
        [alipay]
        prefixes = ["5401"]
        card_types = ["TJ000001"]
        [[alipay.keys]]
        key_id = 1
        algorithm = "secp256k1"
        public_key = "036693576fe549c7d3e9647e77bf965879efd1759f42e40a1c1061b6b7f8a4261b"
        [[alipay.keys]]
        key_id = 7
        algorithm = "sm2"
        public_key = "028e04267ce267bfbeb658b6f1dd2336e06491edea61d29786700ef58909b1bb6b"
    "#;

    #[test]
    fn a_profile_with_alipay_codes_is_read() {
        let profile = with(ALIPAY).unwrap();
        let issuing = profile.alipay.unwrap();
        assert_eq!(format!("{:?}", issuing.prefixes()), "[5401]");
        assert!(profile.mot.is_empty());
        let without = with(&ALIPAY.replace("prefixes = [\"5401\"]", "")).unwrap().alipay.unwrap();
        assert_eq!(format!("{:?}", without.prefixes()), "[none]");
    }

    const FIRST: &str = "036693576fe549c7d3e9647e77bf965879efd1759f42e40a1c1061b6b7f8a4261b";
    const SECOND: &str = "028e04267ce267bfbeb658b6f1dd2336e06491edea61d29786700ef58909b1bb6b";
    const ABOVE_P: &str = "02ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff";

    #[test]
    fn alipay_values_that_cannot_be_are_refused_with_what_is_allowed() {
        for (from, to, says) in [
            ("card_types", "card_type", "`card_type`"),
            ("key_id = 1", "id = 1", "`id`"),
            ("key_id = 1", "key_id = 256", "256"),
            ("key_id = 1", "key_id = 7", "key_id 7 was given before"),
            ("\"secp256k1\"", "\"p256\"", "`secp256k1` or `sm2`"),
            // An X may be on both curves; ff… is above p on both.
            (FIRST, ABOVE_P, "key_id 1: public_key: expected a compressed point on the algorithm's curve"),
            (SECOND, ABOVE_P, "key_id 7: public_key: expected a compressed point on the algorithm's curve"),
            ("\"0366", "\"0566", "key_id 1: public_key: expected a compressed point"),
            ("\"0366", "\"66", "key_id 1: public_key: expected 33 bytes"),
            ("[\"TJ000001\"]", "[]", "alipay.card_types is empty"),
            ("\"TJ000001\"", "\"TJ00001\"", "8 ASCII characters"),
            ("\"TJ000001\"", "\"TJ0000é\"", "8 ASCII characters"),
            ("[\"5401\"]", "[\"5401\", \"5401\"]", "5401 overlaps"),
            ("[\"5401\"]", "[\"5401\", \"54\"]", "54 overlaps"),
            ("[\"5401\"]", "[\"\"]", "1 to 8 bytes"),
            ("[\"5401\"]", "[\"540101010101010101\"]", "1 to 8 bytes"),
            ("[\"5401\"]", "[\"T1\"]", "hexadecimal"),
            ("[\"5401\"]", "[\"81\"]", "must not begin with 80 to ff"),
            ("[\"5401\"]", "[\"0201\"]", "must not begin with 02"),
        ] {
            assert!(ALIPAY.contains(from), "{from}");
            let refusal = with(&ALIPAY.replace(from, to)).unwrap_err();
            assert!(refusal.contains(says), "{to}: {refusal}");
        }
        let keyless = ALIPAY.split("[[alipay.keys]]").next().unwrap();
        assert!(with(keyless).unwrap_err().contains("keys"));
        assert!(with(&format!("{keyless}keys = []")).unwrap_err().contains("alipay.keys is empty"));
    }

    #[test]
    fn a_partner_without_a_format_is_refused() {
        let head = GOOD.split("[[mot]]").next().unwrap();
        assert!(matches!(Profile::from_toml(head), Err(ProfileError::NoFormat)));
    }
}
