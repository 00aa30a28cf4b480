//! The partners of this moment, each with its budgets and whoever reads its codes. They change together.

use std::{collections::HashMap, sync::Arc};

use arc_swap::ArcSwap;
use ridegate_adapters::{PartnerId, Partners};

use crate::{admission::quota::Quotas, backends::code_resolver::ResolverSettings, reading::Readers};

/// The roster in force. Who begins with one keeps to it to the end.
pub type InForce = Arc<ArcSwap<Roster>>;

/// One roster.
#[derive(Debug)]
pub struct Roster {
    /// Whose codes count.
    pub partners: Partners,
    /// How often each partner may come.
    pub quotas: Quotas,
    /// Who reads the codes that only their partner can read.
    pub readers: Readers,
}

impl Roster {
    /// The next roster. Who is on both keeps what is left of its budgets, and its connection.
    #[must_use]
    pub fn renewed(&self, partners: Partners, resolvers: HashMap<PartnerId, ResolverSettings>) -> Self {
        Self { quotas: self.quotas.renewed(&partners), readers: self.readers.renewed(resolvers), partners }
    }
}
