//! The gRPC contract of ridegate, one package per audience.
//!
//! The `.proto` files beside this crate are the contract; everything here is generated from them.

mod codec;

pub use codec::ShortMessages;

macro_rules! version_1 {
    ($package:literal) => {
        /// Version 1.
        #[allow(missing_docs, clippy::pedantic, reason = "generated from the .proto files, documented there")]
        pub mod v1 {
            tonic::include_proto!($package);
        }
    };
}

/// All of it as an encoded `google.protobuf.FileDescriptorSet`, for reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/ridegate.bin"));

/// What validators and station computers call.
pub mod validator {
    version_1!("ridegate.validator.v1");
}

/// What partner city systems and payment apps call.
pub mod partner {
    version_1!("ridegate.partner.v1");
}

/// What ticket windows and machines call.
pub mod ticketing {
    version_1!("ridegate.ticketing.v1");
}

/// What the health authority serves and the gateway calls.
pub mod authority {
    version_1!("ridegate.authority.v1");
}

/// What a partner serves whose codes only it can read, and the gateway calls.
pub mod resolver {
    version_1!("ridegate.resolver.v1");
}
