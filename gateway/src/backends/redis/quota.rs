//! Budgets of partners over the whole fleet: how many tokens there are, and which replica has how many in hand.

use std::{fmt, sync::Arc, time::Duration};

use super::{Away, Redis, Script, shared::prefix};
use crate::keyring::Keyring;

/// A replica that was not heard of for so long is not alive.
const SILENT: Duration = Duration::from_secs(2);
/// Nobody waits for an answer, so it may take longer than a verdict's. One that comes later is lost, and tokens with it.
const CAP: Duration = Duration::from_millis(250);
/// Numbers for one budget, there and back.
const NUMBERS: usize = 6;

/// Where budgets lie in Redis.
pub struct Bank {
    redis: Arc<Redis>,
    script: Script,
    prefix: String,
    /// This process, by a name of chance: one that starts again is another replica.
    me: String,
}

/// What a replica says of one budget. Tokens are whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ask {
    /// Tokens that come in a second.
    pub per_second: u32,
    /// Tokens there may be in all, hands included.
    pub burst: u32,
    /// What it has in hand: perhaps less by now, never more.
    pub hand: i64,
    /// What it gives back, out of its hand already; negative: what was admitted without asking.
    pub give: i64,
    /// What it needs in hand until it asks again.
    pub need: i64,
    /// Tokens to begin with where Redis knows nothing of this budget.
    pub begin: i64,
}

/// What Redis says to that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// Tokens that came into its hand.
    pub granted: i64,
    /// How many more than it needs it may keep in hand.
    pub share: i64,
    /// Tokens in Redis; negative if more was admitted than there was.
    pub left: i64,
    /// When there is a whole token.
    pub wait: Duration,
    /// Tokens in the hands of others.
    pub others: i64,
    /// Another replica lacked some of late.
    pub scarce: bool,
}

impl Bank {
    /// Budgets of the gateways that have this secret.
    pub fn new(redis: Arc<Redis>, keys: &Keyring) -> Self {
        let script = Script::new(include_str!("quota.lua"));
        Self { redis, script, prefix: prefix(keys), me: format!("{:016x}", rand::random::<u64>()) }
    }

    /// One round: what becomes of every budget, in their order, and how many replicas are alive, this one included.
    pub async fn ask(&self, asks: &[(&str, Ask)]) -> Result<(u32, Vec<Answer>), Away> {
        let name = |name: &str| format!("{}:{{quota}}:{name}", self.prefix);
        let keys: Vec<_> = std::iter::once(name("alive"))
            .chain(asks.iter().map(|(of, _)| name(&format!("b:{of}"))))
            .collect();
        let numbers = asks.iter().flat_map(|(_, ask)| {
            [ask.per_second.into(), ask.burst.into(), ask.hand, ask.give, ask.need, ask.begin]
        });
        let head = [self.me.clone(), SILENT.as_micros().to_string()];
        let arguments: Vec<_> = head.into_iter().chain(numbers.map(|number| number.to_string())).collect();
        let keys: Vec<_> = keys.iter().map(String::as_bytes).collect();
        let arguments: Vec<_> = arguments.iter().map(String::as_bytes).collect();
        let answer: Vec<i64> = self.redis.run(&self.script, "quota", &keys, &arguments, CAP).await?;
        read(&answer).filter(|(_, answers)| answers.len() == asks.len()).ok_or(Away::Refused)
    }
}

fn read(numbers: &[i64]) -> Option<(u32, Vec<Answer>)> {
    let (replicas, rest) = numbers.split_first()?;
    let (answers, rest) = rest.as_chunks::<NUMBERS>();
    let answer = |&[granted, share, left, wait, others, scarce]: &[i64; NUMBERS]| Answer {
        granted,
        share,
        left,
        wait: Duration::from_millis(wait.unsigned_abs()),
        others,
        scarce: scarce != 0,
    };
    rest.is_empty().then_some((u32::try_from(*replicas).ok()?, answers.iter().map(answer).collect()))
}

impl fmt::Debug for Bank {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bank({}, {})", self.prefix, self.me)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_of_another_length_is_none() {
        let answer = Answer {
            granted: 1,
            share: 2,
            left: -3,
            wait: Duration::from_millis(4),
            others: 5,
            scarce: true,
        };
        assert_eq!(read(&[2, 1, 2, -3, 4, 5, 1]), Some((2, vec![answer])));
        assert_eq!(read(&[2]), Some((2, vec![])));
        for wrong in [&[][..], &[2, 1], &[-1], &[2, 1, 2, -3, 4, 5, 1, 9]] {
            assert_eq!(read(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn fleets_of_other_secrets_never_meet() {
        let of = |secret| prefix(&Keyring::new(&[secret; 32]));
        assert!(of(1).starts_with("rg1:") && of(1).len() == 12 && of(1) == of(1) && of(1) != of(2));
    }
}
