//! Batches of a card company, as far as they are carried out.

/// How far a batch is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Progress {
    /// Rows carried out.
    pub done: u64,
    /// How many came to what; never none.
    pub counts: Vec<(RowResult, u64)>,
}

/// A row that was not linked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RefusedRow {
    /// How many rows come before it.
    pub row: u64,
    /// Why.
    pub result: RowResult,
}

/// What became of one row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowResult {
    /// Linked now.
    Linked,
    /// Was linked to this holder before.
    AlreadyLinked,
    /// Is linked to another person.
    LinkedToSomeoneElse,
    /// The authority does not know the code.
    AuthorizationUnknown,
    /// The code was used before.
    AuthorizationUsed,
    /// Not a concession card that this partner issues.
    KindRefused,
    /// Not an issuer of this partner's.
    IssuerRefused,
    /// Not a card number.
    NumberRefused,
    /// Not the length of a code.
    AuthorizationRefused,
}

impl RowResult {
    /// All of them, by number from 1 on: as the registry and the wire have them.
    pub const ALL: [Self; 9] = [
        Self::Linked,
        Self::AlreadyLinked,
        Self::LinkedToSomeoneElse,
        Self::AuthorizationUnknown,
        Self::AuthorizationUsed,
        Self::KindRefused,
        Self::IssuerRefused,
        Self::NumberRefused,
        Self::AuthorizationRefused,
    ];

    /// Its number.
    pub const fn code(self) -> i64 {
        self as i64 + 1
    }

    pub(crate) fn from_code(code: i64) -> Option<Self> {
        usize::try_from(code - 1).ok().and_then(|at| Self::ALL.get(at)).copied()
    }

    /// Whether the card is linked to the holder now.
    pub const fn is_linked(self) -> bool {
        matches!(self, Self::Linked | Self::AlreadyLinked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_known_by_their_numbers() {
        for (result, code) in RowResult::ALL.into_iter().zip(1..) {
            assert_eq!((result.code(), RowResult::from_code(code)), (code, Some(result)));
        }
        assert_eq!((RowResult::from_code(0), RowResult::from_code(10)), (None, None));
    }
}
