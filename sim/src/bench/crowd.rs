//! Riders: those whom the gateway knows, and those who come for the first time.

use std::{fmt::Write, iter::repeat_with, sync::Arc, time::Duration};

use anyhow::{Context, Result, ensure};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha20Rng;
use ridegate_adapters::MAX_VALIDITY_S;
use ridegate_gateway::clock::Clock;
use ridegate_proto::partner::v1::{LinkResult, partner_service_client::PartnerServiceClient};
use tokio::task::JoinSet;
use tonic::transport::Channel;

use super::mix::Mix;
use crate::{
    authority::Authority,
    city::link_request,
    progress::progress,
    riders::{Rider, wire},
    trust::{Phone, Trust},
};

/// How long ago the oldest code of a phone was made that is shown.
const AGE_S: u32 = 600;
/// How long codes that were made at once can be shown: until the oldest is over, and its reader's clock may be ahead.
pub(super) const SHOWN_WITHIN: Duration = Duration::from_secs(MAX_VALIDITY_S as u64 - AGE_S as u64 - 30);
/// How long authorizations hold.
const AUTHORIZED_S: u32 = 86_400;
/// Riders whose partner keeps a book of them: it has no room for more.
const ROOM: usize = 1100;
const LINKS_AT_ONCE: usize = 16;

/// A rider.
#[derive(Clone)]
pub(super) struct Person {
    /// The place of the partner in the mix.
    pub(super) partner: usize,
    pub(super) rider: Rider,
    pub(super) account: String,
}

/// A rider whom the gateway knows, with the phone that it knows.
pub(super) struct Known {
    pub(super) person: Person,
    pub(super) phone: Phone,
    /// The second of the last code that it has shown.
    last: u32,
}

/// Everybody.
pub(super) struct Crowd {
    pub(super) trust: Arc<Trust>,
    mix: Mix,
    authority: Authority,
    /// A connection of each partner's.
    partners: Vec<Channel>,
    /// How many riders each partner has.
    riders: Vec<usize>,
    pub(super) known: Vec<Known>,
    pub(super) rng: ChaCha20Rng,
}

/// What partners' riders are: of a hundred.
const fn kind(turn: usize) -> Rider {
    match turn % 100 {
        3 | 53 => Rider::Exempt,
        13 | 43 | 83 => Rider::Overdue,
        33 => Rider::Abnormal,
        63 => Rider::NoRecord,
        93 => Rider::Unlinked,
        _ => Rider::Healthy,
    }
}

impl Known {
    /// A second of which this phone has shown no code, if there is one.
    pub(super) fn second(&mut self, now: u32) -> Option<u32> {
        let next = (self.last + 1).max(now.saturating_sub(AGE_S));
        (next < now).then(|| {
            self.last = next;
            next
        })
    }
}

impl Crowd {
    /// So many riders link.
    pub(super) async fn gather(
        count: usize,
        seed: u64,
        mix: &Mix,
        trust: Arc<Trust>,
        authority: Authority,
        partners: Vec<Channel>,
    ) -> Result<Self> {
        let mut crowd = Self {
            trust,
            riders: vec![0; mix.partners.len()],
            mix: mix.clone(),
            authority,
            partners,
            known: Vec::with_capacity(count),
            rng: ChaCha20Rng::seed_from_u64(seed),
        };
        let people = crowd.people(count)?;
        ensure!(
            people.len() == count,
            "riders: a partner of this mix has room for {ROOM} only; ask for fewer, or for another mix"
        );
        crowd.link(&people).await?;
        for person in people {
            // Whoever wants to stop is heard meanwhile.
            tokio::task::yield_now().await;
            let phone = crowd.phone(&person)?;
            crowd.known.push(Known { person, phone, last: 0 });
        }
        Ok(crowd)
    }

    /// So many riders who were never seen before, or as many as their partners have room for; they have linked.
    pub(super) async fn fresh(&mut self, count: usize) -> Result<Vec<Person>> {
        let people = self.people(count)?;
        self.link(&people).await?;
        Ok(people)
    }

    /// The name of the partner at this place of the mix.
    fn partner(&self, place: usize) -> Result<&str> {
        Ok(&self.mix.partners.get(place).context("no such partner")?.partner)
    }

    /// So many riders, but for those whom their partner has no room for.
    fn people(&mut self, count: usize) -> Result<Vec<Person>> {
        let drawn = repeat_with(|| {
            let partner = self.mix.partner(self.rng.random());
            let number = self.riders.get_mut(partner).context("no such partner")?;
            *number += 1;
            let number = *number;
            let name = self.partner(partner)?;
            let shows = self.trust.partner(name)?;
            let account = shows.account(number);
            let has_room = shows.is_account(&account);
            anyhow::Ok(has_room.then(|| Person { partner, rider: kind(number), account }))
        });
        drawn.take(count).filter_map(Result::transpose).collect()
    }

    /// A new phone of this rider's.
    fn phone(&mut self, person: &Person) -> Result<Phone> {
        let partner = self.partner(person.partner)?.to_owned();
        authorise(&self.trust, &partner, &person.account, &mut self.rng)
    }

    /// A phone of the partner that is throttled, if one is.
    pub(super) fn throttled(&mut self) -> Result<Option<Phone>> {
        let Some(partner) = self.mix.throttled_partner()? else { return Ok(None) };
        let account = self.trust.partner(&partner)?.account(1);
        authorise(&self.trust, &partner, &account, &mut self.rng).map(Some)
    }

    /// Those who link do so now, and the authority knows those whom it has a record of.
    async fn link(&self, people: &[Person]) -> Result<()> {
        let now = Clock::system().now();
        let linking = people.iter().filter(|person| person.rider.is_linked());
        let progress = progress(linking.clone().count(), "riders link ");
        let mut tasks: JoinSet<Result<()>> = JoinSet::new();
        for person in linking {
            if tasks.len() >= LINKS_AT_ONCE {
                tasks.join_next().await.context("nobody links")???;
            }
            let name = self.partner(person.partner)?;
            let (subject, code) =
                (format!("subject-{name}-{}", person.account), format!("code-{name}-{}", person.account));
            self.authority.authorise(&code, &subject);
            if let Some(facts) = person.rider.facts(now) {
                self.authority.set(&subject, facts);
            }
            let mut request =
                link_request(self.trust.partner(name)?.medium(&person.account), code, wire(now));
            // The registry may be one that was here before this run, and remember an earlier one's.
            write!(request.idempotency_key, "-{}", now.as_nanosecond())?;
            let channel = self.partners.get(person.partner).context("no such partner")?.clone();
            let progress = progress.clone();
            tasks.spawn(async move {
                let answer = PartnerServiceClient::new(channel).link_rider(request).await;
                let result = answer.context("a rider was not linked")?.into_inner().result();
                let is_linked = matches!(result, LinkResult::Linked | LinkResult::AlreadyLinked);
                ensure!(is_linked, "a rider was not linked: {result:?}");
                progress.step();
                Ok(())
            });
        }
        while let Some(done) = tasks.join_next().await {
            done??;
        }
        progress.finish();
        Ok(())
    }
}

/// A new phone for this account of a partner's.
pub(super) fn authorise(trust: &Trust, partner: &str, account: &str, rng: &mut ChaCha20Rng) -> Result<Phone> {
    let now = now()?;
    trust.partner(partner)?.authorise(account, now + AUTHORIZED_S, MAX_VALIDITY_S, rng)
}

/// Unix seconds.
pub(super) fn now() -> Result<u32> {
    Ok(u32::try_from(Clock::system().unix_seconds().0)?)
}
