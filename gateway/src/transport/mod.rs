//! gRPC in front of the gateway: messages become taps and requests, answers become messages, errors become
//! statuses. These files, and the authority's client, are the only ones that know the wire.

mod calls;
mod deadline;
mod health;
mod identity;
mod partner;
mod status;
mod ticketing;
mod validator;
mod wire;

pub use calls::Calls;
pub use partner::PartnerApi;
pub use ticketing::TicketApi;
pub use validator::{Fleets, Inspections, ValidatorApi};

use std::{sync::Arc, time::Duration};

use ridegate_proto::{
    FILE_DESCRIPTOR_SET, partner::v1::partner_service_server::PartnerServiceServer,
    ticketing::v1::ticket_service_server::TicketServiceServer,
    validator::v1::validator_service_server::ValidatorServiceServer,
};
use thiserror::Error;
use tonic::service::Routes;
use tonic_health::{pb::health_server::HealthServer, server::HealthService};

use self::identity::Who;
use crate::{health::Health, metrics::Metrics};

/// The largest message of a validator, or of a ticket window, in bytes. A ride code may have 4 KiB; from there to here an error names the field.
const MAX_TAP: usize = 16 * 1024;
/// The largest of anybody else.
const MAX_MESSAGE: usize = 64 * 1024;

const VALIDATOR_SERVICE: &str = "ridegate.validator.v1.ValidatorService";
const PARTNER_SERVICE: &str = "ridegate.partner.v1.PartnerService";
const TICKET_SERVICE: &str = "ridegate.ticketing.v1.TicketService";

/// Every service there is, who may call it, and its calls.
const SERVICES: [Service; 6] = [
    (VALIDATOR_SERVICE, Who::Validators, &["Check", "CheckStream", "ReportInspection"]),
    (
        PARTNER_SERVICE,
        Who::Partners,
        &[
            "LinkRider",
            "UnlinkRider",
            "GetLink",
            "BatchLink",
            "GetBatch",
            "ReportLost",
            "ReportReissued",
            "ReportReturned",
            "StartDelegatedLink",
            "ResendDelegatedCode",
            "ConfirmDelegatedLink",
            "GetQuota",
        ],
    ),
    (TICKET_SERVICE, Who::Ticketing, &["CheckSale", "ReportSold", "ReportUsed"]),
    ("grpc.health.v1.Health", Who::Everybody, &["Check", "Watch"]),
    ("grpc.reflection.v1.ServerReflection", Who::Anybody, &["ServerReflectionInfo"]),
    ("grpc.reflection.v1alpha.ServerReflection", Who::Anybody, &["ServerReflectionInfo"]),
];

type Service = (&'static str, Who, &'static [&'static str]);

/// How calls are answered.
#[derive(Debug, Clone, Copy)]
pub struct Manners {
    /// The longest that any call may take until its answer begins.
    pub longest_call: Duration,
    /// Whether callers may ask for the proto files.
    pub reflection: bool,
}

/// The contract that was built in cannot be read back.
#[derive(Debug, Error)]
#[error("reflection: {0}")]
pub struct ReflectionError(#[from] tonic_reflection::server::Error);

/// The services of the gateway.
pub async fn calls(
    validators: ValidatorApi,
    partners: PartnerApi,
    tickets: TicketApi,
    health: &Health,
    metrics: &Arc<Metrics>,
    manners: Manners,
) -> Result<Calls, ReflectionError> {
    let state = health.state();
    let reporter = self::health::reporter(state).await;
    let health_service = HealthService::from_health_reporter(reporter.clone());
    tokio::spawn(self::health::follow(reporter, health.follow(), state));
    let validators = ValidatorServiceServer::new(validators).max_decoding_message_size(MAX_TAP);
    let mut others = Routes::builder();
    others
        .add_service(PartnerServiceServer::new(partners).max_decoding_message_size(MAX_MESSAGE))
        .add_service(TicketServiceServer::new(tickets).max_decoding_message_size(MAX_TAP))
        .add_service(HealthServer::new(health_service).max_decoding_message_size(MAX_MESSAGE));
    if manners.reflection {
        let files = || {
            let files = tonic_reflection::server::Builder::configure()
                .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
                .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET);
            // Those that answer here; the files also hold what others serve.
            SERVICES.iter().fold(files, |files, (service, ..)| files.with_service_name(*service))
        };
        others.add_service(files().build_v1()?).add_service(files().build_v1alpha()?);
    }
    Ok(Calls::new(validators, others.routes(), manners.longest_call, Arc::clone(metrics)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use prost::Message;

    use super::*;

    #[test]
    fn every_call_of_ours_is_known_by_name() {
        let files = prost_types::FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap().file;
        let calls = files.iter().flat_map(|file| {
            let service = |service: &prost_types::ServiceDescriptorProto| {
                let name = format!("{}.{}", file.package(), service.name());
                service.method.iter().map(|method| format!("{name}/{}", method.name())).collect::<Vec<_>>()
            };
            file.service.iter().flat_map(service).collect::<Vec<_>>()
        });
        let asked = [".authority.", ".resolver."];
        let served = |call: &String| !asked.iter().any(|package| call.contains(package));
        let theirs: BTreeSet<String> = calls.filter(served).collect();
        let ours = SERVICES
            .iter()
            .flat_map(|(service, _, methods)| methods.iter().map(move |m| format!("{service}/{m}")));
        assert_eq!(ours.filter(|call| call.starts_with("ridegate.")).collect::<BTreeSet<_>>(), theirs);
    }
}
