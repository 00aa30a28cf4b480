//! What a verdict is and how it is reached: pure, no I/O, no clock.

pub mod batch;
pub mod claim;
pub mod counter;
pub mod decide;
pub mod facts;
pub mod link;
pub mod passage;
pub mod policy;
pub mod policy_file;
pub mod prompt;
pub mod pseudonym;
pub mod ticket;
pub mod verdict;
