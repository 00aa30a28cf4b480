//! Partners' calls, repeated until they are acknowledged, and what was acknowledged.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use ridegate_proto::partner::v1::{
    GetLinkRequest, LinkResult, Medium, UnlinkRiderRequest, partner_service_client::PartnerServiceClient,
};
use tokio::time::{sleep, timeout};
use tonic::{Code, Response, Status, transport::Channel};

use crate::{
    city::Rider,
    load::{Load, is_closed},
    plan::REPLICAS,
    stand::lock,
};

const ANSWER: Duration = Duration::from_secs(20);
/// PostgreSQL may take long to recover on a busy machine.
const PATIENCE: Duration = Duration::from_mins(2);
const BEFORE_AGAIN: Duration = Duration::from_millis(50);

/// What was acknowledged of each account: linked, or linked no more.
#[derive(Default)]
pub struct Ledger {
    /// By partner and account: the medium, and whether it is linked.
    accounts: Mutex<BTreeMap<(String, String), (Medium, bool)>>,
    pub linked: AtomicU64,
    pub unlinked: AtomicU64,
    pub looked_at: AtomicU64,
    pub lost: AtomicU64,
    /// Calls that were repeated because nobody behind the gateway answered.
    pub repeated: AtomicU64,
}

impl Ledger {
    fn note(&self, rider: &Rider, linked: bool) {
        let name = (rider.partner.clone(), rider.medium.account.clone());
        lock(&self.accounts).insert(name, (rider.medium.clone(), linked));
    }

    pub fn accounts(&self) -> Vec<(String, Medium, bool)> {
        let accounts = lock(&self.accounts);
        accounts
            .iter()
            .map(|((partner, _), (medium, linked))| (partner.clone(), medium.clone(), *linked))
            .collect()
    }
}

impl Load {
    /// A partner's call, until somebody has answered it.
    async fn call<T, F: Future<Output = Result<Response<T>, Status>> + Send>(
        &self,
        partner: &str,
        first: u8,
        call: impl Fn(PartnerServiceClient<Channel>) -> F,
    ) -> Option<T> {
        let identity = format!("urn:ridegate:partner:{partner}");
        let began = self.now();
        for attempt in 0.. {
            let replica = (first + attempt % REPLICAS) % REPLICAS;
            let client = PartnerServiceClient::new(self.channel(&identity, replica));
            let asked = self.now();
            match timeout(ANSWER, call(client)).await {
                Ok(Ok(answer)) => return Some(answer.into_inner()),
                Ok(Err(status)) if is_closed(&status) => self.left(replica, asked),
                Ok(Err(status)) => {
                    let away = self.history().anything(asked, self.now(), self.promise.recovered);
                    // Of budgets, too, a replica may have nothing in hand for a moment: it says when to come again.
                    let may_be = matches!(
                        status.code(),
                        Code::Unavailable | Code::DeadlineExceeded | Code::ResourceExhausted
                    );
                    if !(may_be && (away || self.promise.hurries)) {
                        self.wrong(&format!("a partner's call was refused: {status:?}"));
                        return None;
                    }
                    self.ledger.repeated.fetch_add(1, Relaxed);
                }
                Err(_) => {
                    self.wrong("a partner's call was not answered in time");
                    return None;
                }
            }
            if self.is_over() {
                return None;
            }
            if self.now() - began > PATIENCE {
                self.wrong("a partner's call was answered nowhere");
                return None;
            }
            sleep(BEFORE_AGAIN).await;
        }
        None
    }

    /// Links a rider's account; whether that was acknowledged.
    pub async fn link(&self, rider: &Rider, replica: u8) -> bool {
        self.stand.authority.authorise(&rider.authorization(), &rider.subject);
        let link = |mut client: PartnerServiceClient<Channel>| {
            let asked = rider.link();
            async move { client.link_rider(asked).await }
        };
        let Some(answer) = self.call(&rider.partner, replica, link).await else { return false };
        // Also where it was repeated: under its key it is answered as the first time.
        if answer.result() != LinkResult::Linked {
            self.wrong(&format!("a link was answered {:?}", answer.result()));
            return false;
        }
        self.ledger.note(rider, true);
        self.ledger.linked.fetch_add(1, Relaxed);
        true
    }

    /// Ends a link; whether that was acknowledged.
    pub async fn unlink(&self, rider: &Rider, replica: u8) -> bool {
        let unlink = |mut client: PartnerServiceClient<Channel>| {
            let asked = UnlinkRiderRequest { medium: Some(rider.medium.clone()) };
            async move { client.unlink_rider(asked).await }
        };
        if self.call(&rider.partner, replica, unlink).await.is_none() {
            return false;
        }
        self.ledger.note(rider, false);
        self.ledger.unlinked.fetch_add(1, Relaxed);
        true
    }

    /// Looks whether an account is as it was acknowledged.
    pub async fn look(&self, partner: &str, medium: &Medium, linked: bool, replica: u8) {
        let get = |mut client: PartnerServiceClient<Channel>| {
            let asked = GetLinkRequest { medium: Some(medium.clone()) };
            async move { client.get_link(asked).await }
        };
        let Some(answer) = self.call(partner, replica, get).await else { return };
        self.ledger.looked_at.fetch_add(1, Relaxed);
        if answer.link.is_some() != linked {
            self.ledger.lost.fetch_add(1, Relaxed);
            self.wrong(if linked {
                "an acknowledged link is not there"
            } else {
                "a link is there that had ended"
            });
        }
    }
}
