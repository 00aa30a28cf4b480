//! Who calls, and whether that role may.

use ridegate_adapters::{Partners, Profile};
use tonic::{Request, Status};

use super::status;
use crate::{
    admission::identity::{Caller, Identity, Validator},
    door::Peer,
};

/// Where a gateway without TLS reads the identity from. It listens on loopback only.
const HEADER: &str = "x-ridegate-identity";

fn caller<T>(request: &Request<T>) -> Result<Identity, Status> {
    match request.extensions().get::<Peer>().map(|peer| &peer.caller) {
        Some(Caller::Known(identity)) => Ok(identity.clone()),
        Some(Caller::Unknown) => Err(status::unknown_identity()),
        Some(Caller::Nobody) | None => Err(status::no_identity()),
        Some(Caller::Stated) => {
            let header = request.metadata().get(HEADER).ok_or_else(status::no_identity)?;
            header
                .to_str()
                .ok()
                .and_then(|uri| Identity::parse(uri).ok())
                .ok_or_else(status::unknown_identity)
        }
    }
}

/// Whether the connection is known well enough for what lies beside our services: health is for everybody, the contract
/// for those whom somebody has certified to call it.
pub(super) fn may_look<B>(request: &http::Request<B>) -> Result<(), Status> {
    if !request.uri().path().starts_with("/grpc.reflection.") {
        return Ok(());
    }
    match request.extensions().get::<Peer>().map(|peer| &peer.caller) {
        Some(Caller::Known(_) | Caller::Stated) => Ok(()),
        Some(Caller::Unknown) => Err(status::unknown_identity()),
        Some(Caller::Nobody) | None => Err(status::no_identity()),
    }
}

/// The validator that calls.
pub(super) fn validator<T>(request: &Request<T>) -> Result<Validator, Status> {
    match caller(request)? {
        Identity::Validator(validator) => Ok(validator),
        Identity::Partner(_) | Identity::Ticketing(_) | Identity::Operator(_) => {
            Err(status::wrong_role("validators"))
        }
    }
}

/// The partner that calls.
pub(super) fn partner<'p, T>(request: &Request<T>, partners: &'p Partners) -> Result<&'p Profile, Status> {
    match caller(request)? {
        Identity::Partner(id) => partners.get(&id).ok_or_else(status::unknown_partner),
        Identity::Validator(_) | Identity::Ticketing(_) | Identity::Operator(_) => {
            Err(status::wrong_role("partners"))
        }
    }
}
