//! The gRPC contract of ridegate, one package per audience.
//!
//! The `.proto` files beside this crate are the contract; everything here is generated from them.

macro_rules! package {
    ($name:literal) => {
        #[allow(missing_docs, clippy::pedantic, reason = "generated from the .proto files, documented there")]
        mod generated {
            tonic::include_proto!($name);
        }
        pub use generated::*;
    };
}

/// All of it as an encoded `google.protobuf.FileDescriptorSet`, for reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/ridegate.bin"));

/// What validators and station computers call.
pub mod validator {
    /// Version 1.
    pub mod v1 {
        package!("ridegate.validator.v1");
    }
}

/// What partner city systems and payment apps call.
pub mod partner {
    /// Version 1.
    pub mod v1 {
        package!("ridegate.partner.v1");
    }
}

/// What the health authority serves and the gateway calls.
pub mod authority {
    /// Version 1.
    pub mod v1 {
        package!("ridegate.authority.v1");
    }
}

/// What a partner serves whose codes only it can read, and the gateway calls.
pub mod resolver {
    /// Version 1.
    pub mod v1 {
        package!("ridegate.resolver.v1");
    }
}
