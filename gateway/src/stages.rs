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

#[cfg(test)]
mod tests {
    use super::*;

    /// Times and histograms are found by a stage's place among all of them.
    #[test]
    fn every_stage_is_where_it_is_looked_for() {
        for (place, stage) in Stage::ALL.into_iter().enumerate() {
            assert_eq!(stage as usize, place, "{}", stage.name());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_stage_takes_what_has_passed_since_the_one_before() {
        let mut stages = Stages::begin();
        for stage in [Stage::Recognise, Stage::Verify] {
            tokio::time::advance(Duration::from_millis(1 + stage as u64)).await;
            stages.passed(stage);
        }
        let took: Vec<_> = stages.took().collect();
        assert_eq!(
            took,
            [(Stage::Recognise, Duration::from_millis(1)), (Stage::Verify, Duration::from_millis(5))]
        );
        assert_eq!(stages.total(), Duration::from_millis(6));
    }
}
