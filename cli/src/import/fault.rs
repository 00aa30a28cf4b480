//! Why a card is not linked, and what helps: for the file of refused cards.

use ridegate_proto::partner::v1::BatchRowResult;

/// What makes a line of the file unusable: it is not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// It has more bytes than a card could need.
    TooLong,
    /// It is not in UTF-8.
    NotUtf8,
    /// A quote is opened and not closed.
    Quote,
    /// It has more or fewer fields than the header.
    Fields,
    /// Its kind is not one of a concession card's.
    Kind,
}

impl Fault {
    /// As in the file of refused cards.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::TooLong => "LINE_TOO_LONG",
            Self::NotUtf8 => "LINE_NOT_UTF8",
            Self::Quote => "LINE_QUOTE_OPEN",
            Self::Fields => "LINE_FIELDS",
            Self::Kind => "LINE_KIND_UNKNOWN",
        }
    }

    pub(super) const fn remedy(self) -> &'static str {
        match self {
            Self::TooLong => "a line has at most 4096 bytes",
            Self::NotUtf8 => "save the file as UTF-8",
            Self::Quote => "close the quote on the same line",
            Self::Fields => "a line has as many fields as the header: four",
            Self::Kind => "kind is senior-card or civil-affairs-card or disability-service-card",
        }
    }
}

/// Whether a row that came to this is linked.
pub(super) const fn is_linked(result: BatchRowResult) -> bool {
    matches!(result, BatchRowResult::Linked | BatchRowResult::AlreadyLinked)
}

/// A result as in the file of refused cards.
pub(super) fn name(result: BatchRowResult) -> &'static str {
    result.as_str_name().trim_start_matches("BATCH_ROW_RESULT_")
}

/// What helps.
pub(super) const fn remedy(result: BatchRowResult) -> &'static str {
    match result {
        BatchRowResult::Linked | BatchRowResult::AlreadyLinked => "nothing to do",
        BatchRowResult::LinkedToSomeoneElse => {
            "the card is linked to another person: if it was handed back report that first"
        }
        BatchRowResult::AuthorizationUnknown => {
            "the health authority does not know the code: have it authorise the holder again"
        }
        BatchRowResult::AuthorizationUsed => {
            "the code was used before: have the health authority authorise the holder again"
        }
        BatchRowResult::KindRefused => {
            "your profile does not issue cards of this kind: ask the gateway's operators"
        }
        BatchRowResult::IssuerRefused => "issuer has 8 digits and is one of your profile's",
        BatchRowResult::NumberRefused => "number is not a card number: check its length and its check digit",
        BatchRowResult::AuthorizationRefused => "authorization_code has 1 to 256 characters",
        BatchRowResult::Unspecified => "ask the gateway's operators",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_helps_needs_no_quotes_in_a_csv_file() {
        let results = (0..).map_while(|number| BatchRowResult::try_from(number).ok());
        let results: Vec<_> = results.map(|result| (name(result), remedy(result))).collect();
        assert!(results.len() >= 10, "{results:?}");
        let faults = [Fault::TooLong, Fault::NotUtf8, Fault::Quote, Fault::Fields, Fault::Kind];
        for (name, remedy) in results.into_iter().chain(faults.map(|fault| (fault.name(), fault.remedy()))) {
            assert!(name.bytes().all(|byte| byte.is_ascii_uppercase() || b"_8".contains(&byte)), "{name}");
            assert!(!remedy.is_empty() && !remedy.contains([',', '"', '\n', ';']), "{remedy}");
        }
    }
}
