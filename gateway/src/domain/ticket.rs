//! Single paper tickets: one at a time for each person, until it was used (D13).

use uuid::{Builder, Uuid};

use super::verdict::{Inspect, Verdict};

/// What was decided about a sale.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SaleVerdict {
    /// As at a gate, on the way in.
    Asked(Verdict),
    /// INSPECT: the person has a ticket that was not used, or is being sold one.
    TicketOpen,
}

/// A sale, named by chance.
///
/// A sale of which something is held has a UUID of version 4. One allowed while nothing is asked has version 8: nobody
/// was identified, so there is nothing to hold, and its report is taken and forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SaleId(Uuid);

/// What became of the report of a sale.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SaleReported {
    /// The ticket is open.
    Recorded,
    /// No sale is held under this id.
    NoSuchSale,
    /// The ticket is another sale's, or the sale has another ticket.
    OtherTicket,
}

impl SaleVerdict {
    /// INSPECT.
    pub const fn inspect(reason: Inspect) -> Self {
        Self::Asked(Verdict::Inspect(reason))
    }

    /// `ALLOW` or `INSPECT`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Asked(verdict) => verdict.name(),
            Self::TicketOpen => "INSPECT",
        }
    }

    /// The reason's name: one of D27, or `TICKET_OPEN`.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Asked(verdict) => verdict.reason(),
            Self::TicketOpen => "TICKET_OPEN",
        }
    }
}

impl SaleId {
    /// Of a sale of which something is held.
    pub const fn held(chance: [u8; 16]) -> Self {
        Self(Builder::from_random_bytes(chance).into_uuid())
    }

    /// Of a sale made while nothing is asked.
    pub const fn not_held(chance: [u8; 16]) -> Self {
        Self(Builder::from_custom_bytes(chance).into_uuid())
    }

    /// Reads an id; `None` if no sale has such a one.
    pub fn parse(text: &str) -> Option<Self> {
        Uuid::try_parse(text).ok().filter(|id| matches!(id.get_version_num(), 4 | 8)).map(Self)
    }

    /// Whether something is held of it.
    pub const fn is_held(self) -> bool {
        self.0.get_version_num() == 4
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }
}

impl std::fmt::Display for SaleId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_says_whether_anything_is_held_and_nothing_else() {
        for (id, held) in [(SaleId::held([0xff; 16]), true), (SaleId::not_held([0xff; 16]), false)] {
            assert_eq!(SaleId::parse(&id.to_string()), Some(id));
            assert_eq!(id.is_held(), held);
        }
        for other in
            ["", "sale", "01811a5e-1c00-7000-8000-000000000000", "00000000-0000-0000-0000-000000000000"]
        {
            assert_eq!(SaleId::parse(other), None, "{other}");
        }
    }
}
