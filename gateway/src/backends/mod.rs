//! What lies behind the gateway. These files, and no others, know what it is made of.

pub mod authority;
pub mod code_resolver;
pub mod memory;
pub mod redis;
pub mod registry;
pub mod retry;
