//! Whether the gateway lives, is ready, and what behind it answers: three different things.
//!
//! It lives while it runs. It is ready from the first time that the authority answered (if the policy asked for
//! anything when it started) until it is told to stop: an authority or a registry that fails later makes verdicts
//! degraded, not absent, and every replica has the same one, so taking them all out of service would help nobody.

use tokio::sync::watch;

/// The state, told to whom it concerns.
#[derive(Debug, Clone)]
pub struct Health(watch::Sender<State>);

/// What is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State {
    /// The registry answers.
    pub registry: bool,
    /// Redis answers; `None` where there is none.
    pub redis: Option<bool>,
    /// The authority's changes are followed.
    pub authority: bool,
    ready: Ready,
}

/// How ready the gateway is, in the order in which it comes to be so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ready {
    /// Not before the authority has answered.
    NotYet,
    Yes,
    /// It was told to stop.
    NoMore,
}

impl State {
    /// Verdicts and partners' requests should come here.
    pub const fn is_ready(self) -> bool {
        matches!(self.ready, Ready::Yes)
    }
}

impl Health {
    /// At the start: the registry has just been opened, the authority has not been heard of.
    pub fn new(needs_authority: bool) -> Self {
        let ready = if needs_authority { Ready::NotYet } else { Ready::Yes };
        Self(watch::Sender::new(State { registry: true, redis: None, authority: false, ready }))
    }

    /// As it is now.
    pub fn state(&self) -> State {
        *self.0.borrow()
    }

    /// As it is now and will be.
    pub fn follow(&self) -> watch::Receiver<State> {
        self.0.subscribe()
    }

    /// Whether the authority's changes are followed.
    pub fn authority(&self, up: bool) {
        self.change(|state| {
            state.authority = up;
            if up && state.ready == Ready::NotYet {
                state.ready = Ready::Yes;
            }
        });
    }

    /// Whether the registry answers.
    pub fn registry(&self, up: bool) {
        self.change(|state| state.registry = up);
    }

    /// Whether Redis answers. Without it the fleet is as many gateways, so nobody is taken out of service.
    pub fn redis(&self, up: bool) {
        self.change(|state| state.redis = Some(up));
    }

    /// The gateway was told to stop.
    pub fn stop(&self) {
        self.change(|state| state.ready = Ready::NoMore);
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        self.0.send_if_modified(|state| {
            let before = *state;
            change(state);
            *state != before
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_from_the_authoritys_first_answer_to_the_stop() {
        let health = Health::new(true);
        assert!(!health.state().is_ready(), "nobody's facts can be had yet");
        health.authority(true);
        assert!(health.state().is_ready());
        health.authority(false);
        health.registry(false);
        health.redis(false);
        assert!(health.state().is_ready(), "degraded, but it answers");
        health.stop();
        assert!(!health.state().is_ready());
    }

    #[test]
    fn where_the_policy_asks_nothing_nobody_is_waited_for() {
        assert!(Health::new(false).state().is_ready());
    }
}
