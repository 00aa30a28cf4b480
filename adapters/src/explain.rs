//! What a format tells people of itself: its fields, and what is checked in which order.

use crate::{CodeError, Partners, Signer};

/// A format, for people.
#[derive(Debug, Clone, Copy)]
pub struct About {
    /// Its name in profiles, verdicts and conformance files.
    pub name: &'static str,
    /// What is checked of its codes, in this order: the first that fails decides.
    pub checks: &'static [Check],
    /// Reads every field that there is, as far as the bytes go.
    pub fields: fn(&[u8], &Partners) -> Vec<Field>,
}

/// One field of a code, fit to be shown: of what names a rider only the end is left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// As the format's table names it.
    pub name: String,
    /// Where it begins, in bytes.
    pub at: usize,
    /// How many bytes it has.
    pub len: usize,
    /// What it says.
    pub shown: String,
}

/// What is checked of a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Check {
    /// Every field is built as the format says.
    Structure,
    /// The medium is onboarded.
    Medium,
    /// Root, key, issuer and platform are trusted.
    Issuer,
    /// The issuer's certificate is in force.
    Certificate,
    /// The issuer lets this phone make codes.
    Authorization,
    /// The code claims no longer life than the format lets it.
    Validity,
    /// It was not made in the future.
    Clock,
    /// Its life is not over.
    Expiry,
    /// The root signed the issuer's certificate.
    RootSignature,
    /// The issuer signed the authorization.
    IssuerSignature,
    /// The phone signed the code.
    UserSignature,
}

impl Check {
    /// What passes it, in a few words.
    pub const fn rule(self) -> &'static str {
        match self {
            Self::Structure => "structure",
            Self::Medium => "medium is onboarded",
            Self::Issuer => "issuer is trusted",
            Self::Certificate => "certificate is in force",
            Self::Authorization => "authorization is in force",
            Self::Validity => "validity is not too long",
            Self::Clock => "not made in the future",
            Self::Expiry => "not expired",
            Self::RootSignature => "signature of the root",
            Self::IssuerSignature => "signature of the issuer",
            Self::UserSignature => "signature of the phone",
        }
    }
}

impl CodeError {
    /// The check that failed. `None`: no format claims the bytes, so nothing was checked.
    pub const fn check(self) -> Option<Check> {
        Some(match self {
            Self::Unrecognized => return None,
            Self::Malformed { .. } => Check::Structure,
            Self::UnsupportedMedium { .. } => Check::Medium,
            Self::UntrustedIssuer(_) => Check::Issuer,
            Self::CertificateExpired => Check::Certificate,
            Self::AuthorizationExpired => Check::Authorization,
            Self::ValidityTooLong => Check::Validity,
            Self::NotYetValid => Check::Clock,
            Self::CodeExpired => Check::Expiry,
            Self::BadSignature(Signer::Root) => Check::RootSignature,
            Self::BadSignature(Signer::Issuer) => Check::IssuerSignature,
            Self::BadSignature(Signer::User) => Check::UserSignature,
        })
    }
}

/// How a field's bytes are shown.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Form {
    /// In hexadecimal.
    Hex,
    /// In hexadecimal, all but the end hidden: digits that name a rider.
    HiddenDigits,
    /// As text, all but the end hidden.
    HiddenText,
    /// As text.
    Text,
    /// As a number.
    Number,
    /// As an instant: Unix seconds.
    Time,
    /// Not at all: keys, signatures, and whatever an issuer puts in.
    Unshown,
}

impl Form {
    pub(crate) fn show(self, bytes: &[u8]) -> String {
        match self {
            Self::Hex => hex::encode(bytes),
            Self::HiddenDigits => masked(hex::encode(bytes).trim_end_matches('f')),
            Self::HiddenText => masked(&String::from_utf8_lossy(bytes)),
            Self::Text => bytes.escape_ascii().to_string(),
            Self::Number => number(bytes).to_string(),
            Self::Time => jiff::Timestamp::from_second(i64::try_from(number(bytes)).unwrap_or(i64::MAX))
                .map_or_else(|_| "no time".to_owned(), |at| at.to_string()),
            Self::Unshown => format!("({} bytes)", bytes.len()),
        }
    }
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// What names a rider, fit to be shown: its last four characters, if there are so many more that these tell nobody whose
/// it is.
pub fn masked(text: &str) -> String {
    let count = text.chars().count();
    let shown = if count >= 12 { 4 } else { 0 };
    text.chars().skip(count - shown).filter(|char| !char.is_control()).fold(
        "…".to_owned(),
        |mut masked, char| {
            masked.push(char);
            masked
        },
    )
}

/// Takes fields off a code in their order, and notes where each lies and what it says. After the bytes have run out it
/// takes nothing more.
pub(crate) struct Table<'a> {
    bytes: &'a [u8],
    at: usize,
    over: bool,
    fields: Vec<Field>,
}

impl<'a> Table<'a> {
    pub(crate) const fn of(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, over: false, fields: Vec::new() }
    }

    /// The next field.
    pub(crate) fn take(&mut self, name: &'static str, len: usize, form: Form) -> &'a [u8] {
        if self.over {
            return &[];
        }
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let (value, shown) = if let Some(value) = rest.get(..len) {
            (value, form.show(value))
        } else {
            self.over = true;
            (rest, format!("cut short: {} of {len} bytes", rest.len()))
        };
        self.fields.push(Field { name: name.to_owned(), at: self.at, len: value.len(), shown });
        self.at += value.len();
        value
    }

    /// The next field of one byte, which says how many bytes another has.
    pub(crate) fn count(&mut self, name: &'static str) -> usize {
        self.take(name, 1, Form::Number).first().copied().map_or(0, usize::from)
    }

    /// All fields; bytes that are left are the last.
    pub(crate) fn end(mut self) -> Vec<Field> {
        let left = self.bytes.len().saturating_sub(self.at);
        if left > 0 {
            self.take("after the end", left, Form::Unshown);
        }
        self.fields
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_names_a_rider_is_masked_and_what_is_short_is_not_shown_at_all() {
        assert_eq!(Form::HiddenDigits.show(&[0x31, 0x04, 0x12, 0x34, 0x56, 0x78]), "…5678");
        assert_eq!(Form::HiddenDigits.show(&[0x62, 0x00, 0x00, 0x00, 0x00, 0x00, 0x12, 0x3f]), "…0123");
        assert_eq!(Form::HiddenText.show(b"12345"), "…");
        assert_eq!(Form::HiddenText.show(b""), "…");
        assert_eq!(Form::HiddenText.show(b"20880000000\x1b[m1"), "…[m1");
        assert_eq!(Form::Unshown.show(&[1, 2]), "(2 bytes)");
    }

    #[test]
    fn fields_are_taken_as_far_as_the_bytes_go() {
        let mut table = Table::of(&[2, 0, 0, 1, 0]);
        assert_eq!(table.count("count"), 2);
        table.take("number", 2, Form::Number);
        table.take("time", 4, Form::Time);
        table.take("never", 1, Form::Hex);
        let fields = table.end();
        let shown: Vec<_> =
            fields.iter().map(|field| (field.name.as_str(), field.at, field.shown.as_str())).collect();
        assert_eq!(shown, [("count", 0, "2"), ("number", 1, "0"), ("time", 3, "cut short: 2 of 4 bytes")]);
        let mut table = Table::of(&[0x62, 0xa5, 0x58, 0x80, 9]);
        table.take("time", 4, Form::Time);
        let fields = table.end();
        assert_eq!(fields[0].shown, "2022-06-12T03:07:44Z");
        assert_eq!((fields[1].name.as_str(), fields[1].len), ("after the end", 1));
    }
}
