//! How to call a running city with somebody else's client.

use anyhow::Result;
use base64::{Engine, prelude::BASE64_STANDARD};

use crate::city::{City, METRO};

/// Commands to paste, with a code that is valid now.
pub fn instructions(city: &City) -> Result<String> {
    let endpoint = city.endpoint();
    let code = BASE64_STANDARD.encode(city.visitors_code()?);
    let identity = format!("x-ridegate-identity: urn:ridegate:validator:{METRO}:gate-1");
    let body = format!(r#"{{"request_id":"hello-1","qr_code":"{code}","direction":"DIRECTION_ENTRY"}}"#);
    let method = "ridegate.validator.v1.ValidatorService/Check";
    let address = endpoint.trim_start_matches("http://");
    Ok(format!(
        "The city stays open on {endpoint}; its clock shows {}. Ctrl-C closes it.\n\
         From the repository's root, within twenty minutes (the code does not live longer), and again to see a retry:\n\n\
         buf curl --schema proto --protocol grpc --http2-prior-knowledge \\\n  -H '{identity}' \\\n  -d '{body}' \\\n  {endpoint}/{method}\n\n\
         or\n\n\
         grpcurl -plaintext -import-path proto -proto ridegate/validator/v1/validator.proto \\\n  -H '{identity}' \\\n  -d '{body}' \\\n  {address} {method}\n",
        city.clock().now(),
    ))
}
