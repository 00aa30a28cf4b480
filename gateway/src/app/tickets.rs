//! Wires up the sale of tickets.

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::{Settings, wire::Parts};
use crate::{
    admission::quota::DeviceRates,
    backends::authority::Authority,
    config::Config,
    resolve::lookups::Lookups,
    ticketing::{Terms, Ticketing},
    transport::{Fleets, TicketApi},
};

impl Settings {
    pub(super) fn tickets(
        &self,
        parts: &Parts,
        client: Authority,
        lookups: Arc<Lookups>,
        fleets: Arc<Fleets>,
    ) -> TicketApi {
        let Config { authority, tickets, verdict, .. } = &self.config;
        let ticketing = Ticketing {
            clock: self.clock.clone(),
            policy: Arc::clone(&self.policy),
            authority: client,
            asking: Semaphore::new(authority.concurrent_calls.get()),
            lookups,
            registry: Arc::clone(&parts.registry),
            keys: Arc::clone(&parts.keys),
            terms: Terms {
                authority_cap: authority.lookup_timeout.get(),
                hold: tickets.hold.signed(),
                unused: tickets.unused_max.signed(),
            },
            asked: parts.metrics.upstream("registry"),
            checks: parts.metrics.tickets(),
        };
        let (per_minute, burst) = (tickets.per_device_per_minute, tickets.per_device_burst);
        TicketApi {
            ticketing: Arc::new(ticketing),
            rates: Arc::new(DeviceRates::new(per_minute.get_nonzero(), burst.get_nonzero())),
            fleets,
            budget: verdict.budget.get(),
            reply_margin: verdict.reply_margin.get(),
        }
    }
}
