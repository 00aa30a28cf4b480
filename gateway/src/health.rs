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
    /// The authority's changes are followed.
    pub authority: bool,
    awaits_authority: bool,
    stopping: bool,
}

impl State {
    /// Verdicts and partners' requests should come here.
    pub const fn is_ready(self) -> bool {
        !self.stopping && !self.awaits_authority
    }
}

impl Health {
    /// At the start: the registry has just been opened, the authority has not been heard of.
    pub fn new(needs_authority: bool) -> Self {
        let awaits_authority = needs_authority;
        Self(watch::Sender::new(State {
            registry: true,
            authority: false,
            awaits_authority,
            stopping: false,
        }))
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
            state.awaits_authority &= !up;
        });
    }

    /// Whether the registry answers.
    pub fn registry(&self, up: bool) {
        self.change(|state| state.registry = up);
    }

    /// The gateway was told to stop.
    pub fn stop(&self) {
        self.change(|state| state.stopping = true);
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
        assert!(health.state().is_ready(), "degraded, but it answers");
        health.stop();
        assert!(!health.state().is_ready());
    }

    #[test]
    fn where_the_policy_asks_nothing_nobody_is_waited_for() {
        assert!(Health::new(false).state().is_ready());
    }
}
