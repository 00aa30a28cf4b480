//! Codes of a seed's city, made outside of it: a seed gives the same root, issuers and accounts every time.

use anyhow::{Context, Result, ensure};
use jiff::{SignedDuration, Timestamp};
use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;

use crate::{
    riders::{self, Rider},
    trust::{Shows, Trust},
};

/// How long after its end an expired code is shown, in seconds.
const TOO_LATE_S: u32 = 30;

/// Makes codes of a seed's city.
pub struct Mint {
    seed: u64,
    trust: Trust,
}

/// One code.
#[derive(Debug, Clone)]
pub struct Order {
    /// The partner's position among [`Mint::partners`].
    pub partner: usize,
    /// As the partner has them: 20 digits, or a user id of 16 ASCII characters.
    pub account: String,
    /// How long it lives, in seconds.
    pub validity: u16,
    /// When it is shown; unless it is to be expired then, it is generated at that second.
    pub at: Timestamp,
    /// What is wrong with it.
    pub flaw: Option<Flaw>,
}

/// What can be wrong with a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// Ran out half a minute before.
    Expired,
    /// Signed by another phone than the issuer vouched for.
    Forged,
    /// Its second half is missing.
    Damaged,
}

/// A code that was made.
pub struct Minted {
    /// What the phone shows.
    pub code: Vec<u8>,
    /// The second at which it runs out.
    pub valid_until: Timestamp,
}

impl Mint {
    /// The mint of this seed's city.
    pub fn new(seed: u64) -> Result<Self> {
        Ok(Self { seed, trust: Trust::new(&mut ChaCha20Rng::seed_from_u64(seed))? })
    }

    /// The city's partners.
    pub fn partners(&self) -> impl Iterator<Item = &str> {
        self.trust.partners().map(|(partner, _)| partner)
    }

    /// What riders of the partner at this position show.
    pub fn shows(&self, partner: usize) -> Result<Shows<'_>> {
        Ok(self.trust.partners().nth(partner).context("no such partner")?.1)
    }

    /// The account of the rider of this kind whose `turn` it is with the partner at this position.
    pub fn account(&self, partner: usize, rider: Rider, turn: usize) -> Result<String> {
        Ok(self.shows(partner)?.account(riders::number(partner, rider, turn)))
    }

    /// Makes a code. Refuses a partner the city does not have, an account that partner cannot have, and a time that a code
    /// cannot carry: before 1970 or after 2105.
    pub fn code(&self, order: &Order) -> Result<Minted> {
        let shows = self.shows(order.partner)?;
        ensure!(shows.is_account(&order.account), "{}", shows.account_rule());
        let shown_at = u32::try_from(order.at.as_second()).context("a time that a code cannot carry")?;
        let generated_at = match order.flaw {
            Some(Flaw::Expired) => shown_at.saturating_sub(u32::from(order.validity) + TOO_LATE_S),
            _ => shown_at,
        };
        let authorized_until = shown_at.checked_add(86_400).context("a time that a code cannot carry")?;
        let mut rng = self.rng_of(&order.account);
        let phone = shows.authorise(&order.account, authorized_until, order.validity, &mut rng)?;
        let mut code = match order.flaw {
            Some(Flaw::Forged) => phone.forged(generated_at, &mut rng)?,
            _ => phone.code(generated_at)?,
        };
        if order.flaw == Some(Flaw::Damaged) {
            code.truncate(code.len() / 2);
        }
        let generated_at = Timestamp::from_second(generated_at.into())?;
        let valid_until = generated_at + SignedDuration::from_secs(order.validity.into());
        Ok(Minted { code, valid_until })
    }

    /// An account has the same phone every time, so that the same second's code is the same code.
    fn rng_of(&self, account: &str) -> ChaCha20Rng {
        let mut seed = [0; 32];
        let bytes = self.seed.to_be_bytes().into_iter().chain(account.bytes());
        seed.iter_mut().zip(bytes).for_each(|(place, byte)| *place = byte);
        ChaCha20Rng::from_seed(seed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(turn: usize) -> String {
        Mint::new(7).unwrap().account(5, Rider::Healthy, turn).unwrap()
    }

    fn order(flaw: Option<Flaw>) -> Order {
        Order {
            partner: 5,
            account: account(0),
            validity: 1200,
            at: "2022-06-15T12:00:00+08:00".parse().unwrap(),
            flaw,
        }
    }

    #[test]
    fn the_same_order_makes_the_same_code_and_another_seed_another() {
        let code = |seed, order: &Order| Mint::new(seed).unwrap().code(order).unwrap().code;
        assert_eq!(code(7, &order(None)), code(7, &order(None)));
        assert_ne!(code(7, &order(None)), code(8, &order(None)));
        let somebody_else = Order { account: account(1), ..order(None) };
        assert_ne!(code(7, &order(None)), code(7, &somebody_else));
    }

    #[test]
    fn a_code_lives_from_the_second_it_is_shown_and_an_expired_one_is_over_by_then() {
        let mint = Mint::new(7).unwrap();
        let lives =
            |flaw| mint.code(&order(flaw)).unwrap().valid_until.duration_since(order(None).at).as_secs();
        assert_eq!((lives(None), lives(Some(Flaw::Expired))), (1200, -30));
    }

    #[test]
    fn a_time_that_a_code_cannot_carry_is_refused() {
        let mint = Mint::new(7).unwrap();
        for at in ["1969-12-31T23:59:59Z", "2106-02-07T06:28:16Z", "2106-02-07T00:00:00Z"] {
            assert!(mint.code(&Order { at: at.parse().unwrap(), ..order(None) }).is_err(), "{at}");
        }
    }
}
