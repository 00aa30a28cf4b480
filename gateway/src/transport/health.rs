//! `grpc.health.v1.Health`.
//!
//! | service | serves while |
//! |---|---|
//! | `liveness` | the process runs |
//! | `readiness`, the empty name, `ridegate.validator.v1.ValidatorService` | the gateway is ready |
//! | `ridegate.partner.v1.PartnerService`, `ridegate.ticketing.v1.TicketService` | it is ready and the registry answers |
//! | `dependency/registry`, `dependency/authority`, `dependency/redis` where there is one | that answers |

use tokio::sync::watch;
use tonic_health::{ServingStatus, server::HealthReporter};

use super::{PARTNER_SERVICE, TICKET_SERVICE, VALIDATOR_SERVICE};
use crate::health::State;

/// What each name says of a state. `None`: that is not there.
fn services(state: State) -> [(&'static str, Option<bool>); 9] {
    let ready = Some(state.is_ready());
    let has_registry = Some(state.is_ready() && state.registry);
    [
        ("liveness", Some(true)),
        ("readiness", ready),
        ("", ready),
        (VALIDATOR_SERVICE, ready),
        (PARTNER_SERVICE, has_registry),
        (TICKET_SERVICE, has_registry),
        ("dependency/registry", Some(state.registry)),
        ("dependency/authority", Some(state.authority)),
        ("dependency/redis", state.redis),
    ]
}

/// A reporter that tells the state as it is now.
pub(super) async fn reporter(state: State) -> HealthReporter {
    let reporter = HealthReporter::new();
    for (service, serves) in services(state) {
        tell(&reporter, service, serves).await;
    }
    reporter
}

/// Tells every change to whom it concerns, and nobody else.
pub(super) async fn follow(reporter: HealthReporter, mut states: watch::Receiver<State>, mut told: State) {
    loop {
        let state = *states.borrow_and_update();
        for ((service, serves), (_, before)) in services(state).into_iter().zip(services(told)) {
            if serves != before {
                tell(&reporter, service, serves).await;
            }
        }
        told = state;
        if states.changed().await.is_err() {
            return;
        }
    }
}

async fn tell(reporter: &HealthReporter, service: &str, serves: Option<bool>) {
    let Some(serves) = serves else { return };
    let status = if serves { ServingStatus::Serving } else { ServingStatus::NotServing };
    reporter.set_service_status(service, status).await;
}
