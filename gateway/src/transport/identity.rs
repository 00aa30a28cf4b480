//! Who calls, and whether that role may.

use std::sync::Arc;

use http::Request;
use ridegate_adapters::{PartnerId, Partners, Profile};
use tonic::Status;

use super::status;
use crate::{
    admission::identity::{Caller, Identity, Validator},
    door::Peer,
};

/// Where a gateway without TLS reads the identity from. It listens on loopback only.
const HEADER: &str = "x-ridegate-identity";

/// Who may call a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Who {
    Everybody,
    /// Whoever somebody has certified for anything here.
    Anybody,
    Validators,
    Partners,
    Ticketing,
}

/// A ticket window or machine that was admitted as one.
#[derive(Clone)]
struct Window(Validator);

/// Looks at who calls before anything of the call's content is read, and leaves what services need to know of it among
/// the request's extensions.
pub(super) fn admit<B>(request: &mut Request<B>, who: Who) -> Result<(), Status> {
    if who == Who::Everybody {
        return Ok(());
    }
    match (who, caller(request)?) {
        (Who::Validators, Identity::Validator(validator)) => drop(request.extensions_mut().insert(validator)),
        (Who::Partners, Identity::Partner(partner)) => drop(request.extensions_mut().insert(partner)),
        (Who::Ticketing, Identity::Ticketing(window)) => {
            drop(request.extensions_mut().insert(Window(window)));
        }
        (Who::Everybody | Who::Anybody, _) => {}
        (Who::Validators, _) => return Err(status::wrong_role("validators")),
        (Who::Partners, _) => return Err(status::wrong_role("partners")),
        (Who::Ticketing, _) => return Err(status::wrong_role("ticket windows and machines")),
    }
    Ok(())
}

fn caller<B>(request: &Request<B>) -> Result<Identity, Status> {
    match request.extensions().get::<Peer>().map(|peer| &peer.caller) {
        Some(Caller::Known(identity)) => Ok(identity.clone()),
        Some(Caller::Unknown) => Err(status::unknown_identity()),
        Some(Caller::Nobody) | None => Err(status::no_identity()),
        Some(Caller::Stated) => {
            let header = request.headers().get(HEADER).ok_or_else(status::no_identity)?;
            header
                .to_str()
                .ok()
                .and_then(|uri| Identity::parse(uri).ok())
                .ok_or_else(status::unknown_identity)
        }
    }
}

/// The validator that calls. Whoever was not admitted as one is nobody.
pub(super) fn validator<T>(request: &tonic::Request<T>) -> Result<Validator, Status> {
    request.extensions().get().cloned().ok_or_else(status::no_identity)
}

/// The ticket window or machine that calls.
pub(super) fn window<T>(request: &tonic::Request<T>) -> Result<Validator, Status> {
    request.extensions().get().map(|Window(window)| window.clone()).ok_or_else(status::no_identity)
}

/// The partner that calls.
pub(super) fn partner<'p, T>(
    request: &tonic::Request<T>,
    partners: &'p Partners,
) -> Result<&'p Arc<Profile>, Status> {
    let partner = request.extensions().get::<PartnerId>().ok_or_else(status::no_identity)?;
    partners.get(partner).ok_or_else(status::unknown_partner)
}
