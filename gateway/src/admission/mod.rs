//! Who asks, whether the request can be used, how often a partner may come, and how many cards a reader may tap.

pub mod cards;
pub mod identity;
pub mod quota;
pub mod rate;
pub mod sale;
pub mod tap;
pub mod turns;

use thiserror::Error;

/// A field of a request that cannot be used. Names the field and what is allowed, never the value.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{field}: {rule}")]
pub struct FieldError {
    /// The field, such as `media[1].account`.
    pub field: String,
    /// What is allowed.
    pub rule: &'static str,
}

impl FieldError {
    /// Names a field and what is allowed in it.
    pub fn new(field: impl Into<String>, rule: &'static str) -> Self {
        Self { field: field.into(), rule }
    }
}
