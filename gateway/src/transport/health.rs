//! `grpc.health.v1.Health`.
//!
//! | service | serves while |
//! |---|---|
//! | `liveness` | the process runs |
//! | `readiness`, the empty name, `ridegate.validator.v1.ValidatorService` | the gateway is ready |
//! | `ridegate.partner.v1.PartnerService` | it is ready and the registry answers |
//! | `dependency/registry`, `dependency/authority` | that answers |

use tokio::sync::watch;
use tonic_health::{ServingStatus, server::HealthReporter};

use super::{PARTNER_SERVICE, VALIDATOR_SERVICE};
use crate::health::State;

/// Tells every change to whom it concerns.
pub(super) async fn tell(reporter: HealthReporter, mut states: watch::Receiver<State>) {
    loop {
        let state = *states.borrow_and_update();
        let ready = state.is_ready();
        for (service, serves) in [
            ("liveness", true),
            ("readiness", ready),
            ("", ready),
            (VALIDATOR_SERVICE, ready),
            (PARTNER_SERVICE, ready && state.registry),
            ("dependency/registry", state.registry),
            ("dependency/authority", state.authority),
        ] {
            let told = if serves { ServingStatus::Serving } else { ServingStatus::NotServing };
            reporter.set_service_status(service, told).await;
        }
        if states.changed().await.is_err() {
            return;
        }
    }
}
