//! What a card company reports of its cards (D9).

use std::sync::Arc;

use ridegate_adapters::{Medium, PartnerId};

use super::{Linking, LinkingError, spawned};
use crate::{backends::registry::Registry, domain::link::Reissued};

impl Linking {
    /// A concession card is lost: its link ends, its holder is remembered. Tells whether it was linked. In force when
    /// this returns.
    pub async fn report_lost(&self, partner: &PartnerId, card: &Medium) -> Result<bool, LinkingError> {
        let (names, now) = (self.keys.link_names(partner, card), self.clock.now());
        let ended = async move |registry: Arc<Registry>| registry.lose(&names, now).await;
        self.end("lose", (partner, card), ended).await
    }

    /// A card was handed back: its link ends, whoever made it. Tells whether it was linked. In force when this returns.
    pub async fn report_returned(&self, partner: &PartnerId, card: &Medium) -> Result<bool, LinkingError> {
        let (names, now) = (self.keys.link_names(partner, card), self.clock.now());
        let ended = async move |registry: Arc<Registry>| registry.unlink(&names, None, now).await;
        self.end("return", (partner, card), ended).await
    }

    /// A card was issued in place of a lost one: it is linked to the same holder.
    pub async fn report_reissued(
        &self,
        partner: &PartnerId,
        lost: &Medium,
        card: &Medium,
    ) -> Result<Reissued, LinkingError> {
        let (linking, now) = (self.clone(), self.clock.now());
        let (partner, lost, card) = (partner.clone(), lost.clone(), card.clone());
        spawned(async move {
            linking.timed("reissue", linking.registry.reissue(&partner, &lost, &card, now)).await
        })
        .await
    }
}
