//! What readers show to a partner's riders, where that differs from what they show to everybody.

use serde::Deserialize;

/// A partner's own words, by what they are said about. Health is not among them: what a reader shows of that is the same
/// for every rider, so that a bystander learns nothing (D28).
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Prompts {
    /// `NOT_LINKED` and `NO_RECORD`.
    pub not_linked: Option<Words>,
    /// `CODE_MALFORMED`.
    pub code_malformed: Option<Words>,
    /// `CODE_UNTRUSTED`.
    pub code_untrusted: Option<Words>,
    /// `CODE_EXPIRED`.
    pub code_expired: Option<Words>,
    /// `CODE_REPLAYED`.
    pub code_replayed: Option<Words>,
    /// `MEDIUM_UNSUPPORTED`.
    pub medium_unsupported: Option<Words>,
    /// `LOOKUP_FAILED`.
    pub lookup_failed: Option<Words>,
    /// `THROTTLED`.
    pub throttled: Option<Words>,
}

/// Words in two languages, each of 1 to 60 characters that a screen can show.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Stated")]
pub struct Words {
    /// Chinese.
    pub zh: String,
    /// English.
    pub en: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stated {
    zh: String,
    en: String,
}

impl TryFrom<Stated> for Words {
    type Error = &'static str;

    fn try_from(Stated { zh, en }: Stated) -> Result<Self, Self::Error> {
        let fits = |text: &str| !text.trim().is_empty() && text.chars().nth(60).is_none();
        if [&zh, &en].into_iter().all(|text| fits(text) && !text.chars().any(char::is_control)) {
            Ok(Self { zh, en })
        } else {
            Err("expected zh and en of 1 to 60 characters each")
        }
    }
}
