//! Generates the gRPC code with protox, so that building needs no protoc.

use prost::Message;

const PROTOS: [&str; 5] = [
    "ridegate/validator/v1/validator.proto",
    "ridegate/partner/v1/partner.proto",
    "ridegate/authority/v1/authority.proto",
    "ridegate/resolver/v1/resolver.proto",
    "ridegate/ticketing/v1/ticketing.proto",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let descriptors = protox::compile(PROTOS, ["."])?;
    let out = std::path::PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("ridegate.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        // A ride code is copied once, from the wire's buffer by reference count, not per field.
        .bytes(".ridegate.validator.v1.CheckRequest")
        .bytes(".ridegate.resolver.v1.ResolveRequest")
        .codec_path("crate::ShortMessages")
        .compile_fds(descriptors)?;
    Ok(())
}
