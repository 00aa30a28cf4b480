//! How long each stage of the road took, for one tap.

use std::time::Duration;

use tokio::time::Instant;

/// The stages that are timed, in the order of the road.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Whose code it is.
    Recognise,
    /// The partner's budget.
    Quota,
    /// Structure, whom it is trusted from, times.
    Accept,
    /// Until there is a core for it.
    Turn,
    /// Signatures.
    Verify,
    /// What only the partner can read.
    Resolver,
    /// Shown before?
    Claim,
    /// Who is linked.
    Link,
    /// What the authority says.
    Facts,
    /// What the policy says.
    Policy,
}

impl Stage {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Recognise,
        Self::Quota,
        Self::Accept,
        Self::Turn,
        Self::Verify,
        Self::Resolver,
        Self::Claim,
        Self::Link,
        Self::Facts,
        Self::Policy,
    ];

    /// As metrics and `server-timing` call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Recognise => "recognise",
            Self::Quota => "quota",
            Self::Accept => "accept",
            Self::Turn => "turn",
            Self::Verify => "verify",
            Self::Resolver => "resolver",
            Self::Claim => "claim",
            Self::Link => "link",
            Self::Facts => "facts",
            Self::Policy => "policy",
        }
    }
}

/// The stages one tap has passed, and how long each took.
#[derive(Debug, Clone)]
pub struct Stages {
    began: Instant,
    last: Instant,
    took: [Option<Duration>; Stage::ALL.len()],
}

impl Stages {
    /// The first stage begins.
    pub fn begin() -> Self {
        let now = Instant::now();
        Self { began: now, last: now, took: [None; Stage::ALL.len()] }
    }

    /// A stage ends, the next begins.
    pub fn passed(&mut self, stage: Stage) {
        let now = Instant::now();
        if let Some(took) = self.took.get_mut(stage as usize) {
            *took = Some(now.duration_since(self.last));
        }
        self.last = now;
    }

    /// What was passed, in the order of the road.
    pub fn took(&self) -> impl Iterator<Item = (Stage, Duration)> + '_ {
        Stage::ALL.into_iter().zip(self.took).filter_map(|(stage, took)| Some((stage, took?)))
    }

    /// From the beginning to now.
    pub fn total(&self) -> Duration {
        self.began.elapsed()
    }
}
