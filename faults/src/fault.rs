//! What is done to connections, and how it is written.

use std::{fmt, num::NonZeroU64, str::FromStr, time::Duration};

use thiserror::Error;

/// What is done to connections: nothing, one thing, or several at once.
///
/// Written as words, in any order: `latency=20ms jitter=5ms drip=2000 corrupt=1000 way=down`, and at most one of `stall`,
/// `reset` (or `reset=512`), `half-close` and `refuse`; `well` alone is nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fault {
    /// What passes is late by so much. What was sent later arrives later: nothing waits for what is before it.
    pub latency: Duration,
    /// And by so much more at the most, by chance for each piece; pieces do not overtake.
    pub jitter: Duration,
    /// No more than so many bytes a second, one by one where they are few.
    pub drip: Option<NonZeroU64>,
    /// One byte in so many, by chance, arrives as another.
    pub corrupt: Option<NonZeroU64>,
    /// Nothing passes any more.
    pub stop: Option<Stop>,
    /// Which way all this is done to; [`Stop::Reset`] and [`Stop::Refuse`] are the whole connection's.
    pub way: Way,
}

/// How nothing passes any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Connections stand, and are let in, and nothing is carried. It is carried when this is over.
    Stall,
    /// Connections are reset (RST) as soon as so many bytes have come from the server over each: 0 at once, also those that
    /// stand.
    Reset {
        /// Bytes from the server, since the fault began or the connection did.
        after: u64,
    },
    /// No more comes this way: it is closed (FIN) and the other stays open.
    HalfClose,
    /// Nobody listens: a new connection is refused by the system, those that stand are reset.
    Refuse,
}

/// Which way a fault is done to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Way {
    /// What comes from the server: answers.
    #[default]
    Down,
    /// What goes to the server: questions.
    Up,
    /// Both.
    Both,
}

/// A fault that is not one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum FaultError {
    /// A word that means nothing.
    #[error(
        "expected well, or words of: latency=20ms jitter=5ms drip=BYTES_A_SECOND corrupt=ONE_BYTE_IN way=up|down|both \
         stall reset reset=AFTER_BYTES half-close refuse"
    )]
    Word,
    /// Not a length of time.
    #[error("{0} needs a time with its unit, up to an hour: 20ms, 3s, 2m")]
    Time(&'static str),
    /// Not a number.
    #[error("{0} needs a whole number, 1 or more")]
    Number(&'static str),
    /// More than one end.
    #[error("only one of stall, reset, half-close and refuse can be had at once")]
    Stops,
    /// A word that is there twice.
    #[error("each word only once")]
    Twice,
}

const LONGEST: Duration = Duration::from_hours(1);

impl Fault {
    /// Nothing is done.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Whether it is done to this way, `Up` or `Down`.
    pub(crate) fn is_for(&self, way: Way) -> bool {
        self.way == Way::Both || self.way == way
    }

    /// What this way is done: nothing, if the fault is the other way's.
    pub(crate) fn of(&self, way: Way) -> Self {
        let whole = matches!(self.stop, Some(Stop::Reset { .. } | Stop::Refuse));
        match (self.is_for(way), whole) {
            (true, _) => self.clone(),
            (false, true) => Self { stop: self.stop, ..Self::default() },
            (false, false) => Self::default(),
        }
    }
}

impl FromStr for Fault {
    type Err = FaultError;

    fn from_str(text: &str) -> Result<Self, FaultError> {
        let mut fault = Self::default();
        let mut seen = Vec::new();
        for word in text.split_whitespace() {
            let (name, value) =
                word.split_once('=').map_or((word, None), |(name, value)| (name, Some(value)));
            if seen.contains(&name) {
                return Err(FaultError::Twice);
            }
            seen.push(name);
            match (name, value) {
                ("well", None) => {}
                ("latency", Some(value)) => fault.latency = time("latency", value)?,
                ("jitter", Some(value)) => fault.jitter = time("jitter", value)?,
                ("drip", Some(value)) => fault.drip = Some(number("drip", value)?),
                ("corrupt", Some(value)) => fault.corrupt = Some(number("corrupt", value)?),
                ("way", Some("up")) => fault.way = Way::Up,
                ("way", Some("down")) => fault.way = Way::Down,
                ("way", Some("both")) => fault.way = Way::Both,
                ("stall", None) => fault.stop_by(Stop::Stall)?,
                ("reset", None) => fault.stop_by(Stop::Reset { after: 0 })?,
                ("reset", Some(value)) => {
                    fault.stop_by(Stop::Reset { after: number("reset", value)?.get() })?;
                }
                ("half-close", None) => fault.stop_by(Stop::HalfClose)?,
                ("refuse", None) => fault.stop_by(Stop::Refuse)?,
                _ => return Err(FaultError::Word),
            }
        }
        match seen.as_slice() {
            [] => Err(FaultError::Word),
            [_, _, ..] if seen.contains(&"well") => Err(FaultError::Word),
            _ => Ok(fault),
        }
    }
}

impl Fault {
    fn stop_by(&mut self, stop: Stop) -> Result<(), FaultError> {
        match self.stop.replace(stop) {
            None => Ok(()),
            Some(_) => Err(FaultError::Stops),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut words = Vec::new();
        if !self.latency.is_zero() {
            words.push(format!("latency={}", Time(self.latency)));
        }
        if !self.jitter.is_zero() {
            words.push(format!("jitter={}", Time(self.jitter)));
        }
        words.extend(self.drip.map(|rate| format!("drip={rate}")));
        words.extend(self.corrupt.map(|one_in| format!("corrupt={one_in}")));
        words.extend(self.stop.map(|stop| match stop {
            Stop::Stall => "stall".to_owned(),
            Stop::Reset { after: 0 } => "reset".to_owned(),
            Stop::Reset { after } => format!("reset={after}"),
            Stop::HalfClose => "half-close".to_owned(),
            Stop::Refuse => "refuse".to_owned(),
        }));
        match self.way {
            Way::Down => {}
            Way::Up => words.push("way=up".to_owned()),
            Way::Both => words.push("way=both".to_owned()),
        }
        if words.is_empty() { f.write_str("well") } else { f.write_str(&words.join(" ")) }
    }
}

/// A time as it is written: `1500ms`, `3s`.
struct Time(Duration);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0.as_micros(), self.0.as_millis()) {
            (micros, _) if micros % 1000 != 0 => write!(f, "{micros}us"),
            (_, millis) if millis % 1000 != 0 => write!(f, "{millis}ms"),
            (_, millis) => write!(f, "{}s", millis / 1000),
        }
    }
}

fn time(name: &'static str, text: &str) -> Result<Duration, FaultError> {
    let wrong = FaultError::Time(name);
    let unit = text.find(|c: char| !c.is_ascii_digit()).ok_or(wrong)?;
    let (count, unit) = text.split_at(unit);
    let count: u64 = count.parse().map_err(|_| wrong)?;
    let micros = match unit {
        "us" => Some(1),
        "ms" => Some(1_000),
        "s" => Some(1_000_000),
        "m" => Some(60_000_000),
        _ => None,
    };
    let micros = micros.and_then(|unit: u64| count.checked_mul(unit)).ok_or(wrong)?;
    Some(Duration::from_micros(micros)).filter(|time| *time <= LONGEST).ok_or(wrong)
}

fn number(name: &'static str, text: &str) -> Result<NonZeroU64, FaultError> {
    text.parse().map_err(|_| FaultError::Number(name))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_fault_is_words_in_any_order() {
        let fault: Fault = "way=both jitter=5ms latency=2s drip=100 corrupt=9 reset=512".parse().unwrap();
        assert_eq!(
            fault,
            Fault {
                latency: Duration::from_secs(2),
                jitter: Duration::from_millis(5),
                drip: NonZeroU64::new(100),
                corrupt: NonZeroU64::new(9),
                stop: Some(Stop::Reset { after: 512 }),
                way: Way::Both,
            }
        );
        assert!("well".parse::<Fault>().unwrap().is_none());
    }

    #[test]
    fn what_is_no_fault_is_refused_by_what_is_wrong_with_it() {
        for (text, error) in [
            ("", FaultError::Word),
            ("slow", FaultError::Word),
            ("stall=1s", FaultError::Word),
            ("well stall", FaultError::Word),
            ("way=left", FaultError::Word),
            ("latency", FaultError::Word),
            ("latency=20", FaultError::Time("latency")),
            ("latency=ms", FaultError::Time("latency")),
            ("jitter=-1ms", FaultError::Time("jitter")),
            ("latency=61m", FaultError::Time("latency")),
            ("latency=99999999999999999999s", FaultError::Time("latency")),
            ("drip=0", FaultError::Number("drip")),
            ("corrupt=many", FaultError::Number("corrupt")),
            ("reset=0", FaultError::Number("reset")),
            ("stall refuse", FaultError::Stops),
            ("stall stall", FaultError::Twice),
            ("latency=1ms latency=2ms", FaultError::Twice),
        ] {
            assert_eq!(text.parse::<Fault>(), Err(error), "{text}");
        }
    }

    #[test]
    fn the_other_way_is_left_alone_but_for_the_whole_connection() {
        let down: Fault = "latency=1s stall".parse().unwrap();
        assert!(down.of(Way::Up).is_none());
        assert_eq!(down.of(Way::Down), down);
        let reset: Fault = "latency=1s reset".parse().unwrap();
        assert_eq!(reset.of(Way::Up), "reset".parse().unwrap());
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_as_the_same(
            latency in 0_u64..3_600_000_000,
            jitter in 0_u64..10_000,
            drip in any::<u64>(),
            corrupt in any::<u64>(),
            stop in 0..5,
            after in any::<u64>(),
            way in 0..3,
        ) {
            let fault = Fault {
                latency: Duration::from_micros(latency),
                jitter: Duration::from_millis(jitter),
                drip: NonZeroU64::new(drip),
                corrupt: NonZeroU64::new(corrupt),
                stop: [None, Some(Stop::Stall), Some(Stop::Reset { after }), Some(Stop::HalfClose), Some(Stop::Refuse)][usize::try_from(stop).unwrap()],
                way: [Way::Up, Way::Down, Way::Both][usize::try_from(way).unwrap()],
            };
            prop_assert_eq!(fault.to_string().parse::<Fault>().unwrap(), fault);
        }

        #[test]
        fn no_text_is_too_strange(text in ".{0,60}") {
            let _either_way = text.parse::<Fault>();
        }
    }
}
