//! Where and which way.

/// Which way a rider goes (D24a).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Into a metro station.
    Entry,
    /// Out of a metro station.
    Exit,
    /// Onto a bus.
    Boarding,
    /// Off a bus.
    Alighting,
}

impl Direction {
    /// Whether this is the way in. Health is asked only then: midnight must trap nobody underground.
    pub const fn is_in(self) -> bool {
        matches!(self, Self::Entry | Self::Boarding)
    }
}

/// One passage through a gate or door.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passage {
    /// Which way.
    pub direction: Direction,
    /// Station or line; empty if not told.
    pub location: String,
}
