//! A city to try the gateway in: phones that sign fresh codes, a health authority, partners that link riders,
//! validators that tap. It mints ride codes, so a production build leaves it out.

pub mod alipay;
pub mod authority;
pub mod bench;
mod cards;
pub mod city;
pub mod demo;
mod fleet;
pub mod gates;
mod hosted;
pub mod issuing;
pub mod machine;
pub mod mint;
pub mod online;
pub mod picture;
pub mod pki;
mod plan;
mod progress;
pub mod redis;
mod replicas;
pub mod report;
pub mod resolver;
pub mod riders;
pub mod scrape;
pub mod site;
pub mod stay;
pub mod trust;
mod visit;
