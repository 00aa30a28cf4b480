//! The gateway between a validator and everything that must be asked before a rider goes straight through.
//!
//! The way of a tap is one plain function, [`road::Road::decide`]; everything else here is a stage of it
//! or carries it:
//!
//! | module | what |
//! |---|---|
//! | [`admission`] | who asks, whether the request can be used, how often a partner may come |
//! | [`presented`] | what may be decided about: a code with its claim, or a card |
//! | [`reading`] | codes that only their partner can read |
//! | [`claim`] | whether this code was shown before |
//! | [`resolve`] | who is linked, and what the authority says of them |
//! | [`domain`] | what the policy makes of it: pure |
//! | [`roster`] | the partners of this moment |
//! | [`linking`] | what partners do: link, unlink, ask |
//! | [`ticketing`] | what ticket windows and machines do: ask, sell, report |
//! | [`backends`] | memory, SQLite, the health authority, partners' resolvers: the only files that know them |
//! | [`breaker`] | whether it is worth asking one of them |
//! | [`door`] | connections: TLS, who is there, limits, taking leave |
//! | [`cores`] | the threads that answer, and on which of them a connection lives |
//! | [`transport`] | gRPC over them |
//! | [`health`], [`metrics`], [`operations`] | what operators see |
//! | [`config`], [`app`] | a configuration file becomes a running gateway |

pub mod admission;
pub mod app;
pub mod backends;
pub mod breaker;
pub mod budget;
pub mod claim;
pub mod clock;
pub mod config;
pub mod cores;
#[cfg(test)]
mod days;
pub mod domain;
pub mod door;
pub mod health;
pub mod keyring;
pub mod linking;
pub mod metrics;
pub mod operations;
pub mod presented;
pub mod reading;
pub mod resolve;
pub mod retention;
pub mod road;
pub mod roster;
pub mod stages;
pub mod ticketing;
pub mod transport;
