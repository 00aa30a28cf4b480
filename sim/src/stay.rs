//! How to call a running city with somebody else's client.

use anyhow::Result;
use base64::{Engine, prelude::BASE64_STANDARD};

use crate::{city::City, gates::METRO, redis::Redis};

/// Commands to paste, with a code that is valid now.
pub fn instructions(city: &City) -> Result<String> {
    let endpoint = city.endpoint();
    let code = BASE64_STANDARD.encode(city.visitors_code()?);
    let body = format!(r#"{{"request_id":"hello-1","qr_code":"{code}","direction":"DIRECTION_ENTRY"}}"#);
    let method = "ridegate.validator.v1.ValidatorService/Check";
    let address = endpoint.trim_start_matches("https://");
    let (folder, pki) = (city.folder().display(), city.folder().join("pki"));
    let (pki, gate) = (pki.display(), format!("validator-{METRO}-gate-1"));
    let metrics: Vec<_> = city.replicas.operations().map(|at| format!("http://{at}/metrics")).collect();
    let metrics = metrics.join(", ");
    let (fleet, redis) = (fleet(city), city.redis.as_ref().map(Redis::url));
    let redis = redis.map(|at| format!("They share the Redis on {at}.\n")).unwrap_or_default();
    Ok(format!(
        "The city stays open on {endpoint}; its clock shows {}. Ctrl-C closes it.\n\
         Its certificates are in {pki}, its metrics on {metrics}.\n{fleet}{redis}\n\
         Draw a rider's code, and ask about it:\n\n  \
         ridegate code --city {folder} --partner yikatong --rider overdue --out code.png\n  \
         ridegate scan --city {folder} code.png\n\n\
         Or with another client: the contract is served too, so no file is needed. The code below lives for twenty \
         minutes; asked about again, it is a retry.\n\n  \
         buf curl --protocol grpc --cacert {pki}/ca.pem --cert {pki}/{gate}.pem --key {pki}/{gate}.key \\\n    \
         -d '{body}' \\\n    {endpoint}/{method}\n\n  \
         grpcurl -cacert {pki}/ca.pem -cert {pki}/{gate}.pem -key {pki}/{gate}.key \\\n    \
         -d '{body}' \\\n    {address} {method}\n",
        city.clock().now().display_with_offset(jiff::tz::offset(8)),
    ))
}

/// Where the replicas are, if there are several: each answers the commands below.
fn fleet(city: &City) -> String {
    let endpoints: Vec<_> = city.endpoints().collect();
    if endpoints.len() < 2 {
        return String::new();
    }
    format!("Its {} replicas: {}. Each answers the commands below.\n", endpoints.len(), endpoints.join(", "))
}
