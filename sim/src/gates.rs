//! Gates of the metro and doors of buses, and the two fleets they belong to.

use ridegate_proto::validator::v1::Direction;

/// The metro fleet; it gets health reasons coarse, as every fleet does by default.
pub const METRO: &str = "bjsubway";
/// The bus fleet; it is configured to get them in full.
pub const BUS: &str = "bjbus";
/// Gates and bus doors in the city.
pub(crate) const GATES: usize = 24;

/// A gate or a bus door.
pub(crate) struct Gate {
    pub(crate) identity: String,
    /// Which replica it calls, counted without end; four on is the next one.
    pub(crate) replica: usize,
    pub(crate) bus: bool,
}

impl Gate {
    pub(crate) fn new(number: usize) -> Self {
        let (bus, number) = (number % 4 == 3, number % GATES);
        let identity = if bus {
            format!("urn:ridegate:validator:{BUS}:reader-{number}")
        } else {
            format!("urn:ridegate:validator:{METRO}:gate-{number}")
        };
        Self { identity, replica: number / 4 + GATES / 4 * (number % 4), bus }
    }

    pub(crate) fn direction(&self, out: bool) -> Direction {
        match (self.bus, out) {
            (false, false) => Direction::Entry,
            (false, true) => Direction::Exit,
            (true, false) => Direction::Boarding,
            (true, true) => Direction::Alighting,
        }
    }
}
