//! gRPC in front of the gateway: messages become taps and requests, answers become messages, errors become
//! statuses. These files, and the authority's client, are the only ones that know the wire.

mod deadline;
mod identity;
mod partner;
mod status;
mod validator;
mod wire;

pub use partner::PartnerApi;
pub use validator::{Fleets, Inspections, ValidatorApi};

use ridegate_proto::{
    partner::v1::partner_service_server::PartnerServiceServer,
    validator::v1::validator_service_server::ValidatorServiceServer,
};
use tonic::transport::{Server, server::Router};

/// The largest message, in bytes: a ride code is far smaller, and one that is not gets an error that names it.
const MAX_MESSAGE: usize = 64 * 1024;

/// The services of the gateway.
pub fn router(validators: ValidatorApi, partners: PartnerApi) -> Router {
    Server::builder()
        .add_service(ValidatorServiceServer::new(validators).max_decoding_message_size(MAX_MESSAGE))
        .add_service(PartnerServiceServer::new(partners).max_decoding_message_size(MAX_MESSAGE))
}
