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
use tonic::{
    Status,
    body::Body,
    codegen::http::Response,
    transport::{Server, server::Router},
};
use tower::{
    layer::util::{Identity, Stack},
    util::MapResponseLayer,
};

/// The largest message, in bytes. A ride code may have 4 KiB; from there to here an error names the field.
const MAX_MESSAGE: usize = 64 * 1024;

type ForEveryCall = MapResponseLayer<fn(Response<Body>) -> Response<Body>>;

/// The services of the gateway.
pub fn router(validators: ValidatorApi, partners: PartnerApi) -> Router<Stack<ForEveryCall, Identity>> {
    Server::builder()
        .layer(ForEveryCall::new(blame_the_caller))
        .add_service(ValidatorServiceServer::new(validators).max_decoding_message_size(MAX_MESSAGE))
        .add_service(PartnerServiceServer::new(partners).max_decoding_message_size(MAX_MESSAGE))
}

/// A message that cannot be decoded is the caller's fault; tonic on its own calls it INTERNAL.
fn blame_the_caller(response: Response<Body>) -> Response<Body> {
    match response.extensions().get::<Status>().and_then(status::undecodable) {
        Some(status) => status.into_http(),
        None => response,
    }
}
