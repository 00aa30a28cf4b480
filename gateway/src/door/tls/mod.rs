//! TLS 1.3 with certificates on both sides, reloaded when their files change.

mod credentials;
mod files;

pub(super) use credentials::Credentials;
pub use files::{Ends, TlsError, TlsFiles, end_of};

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use tokio::{sync::watch, time::sleep};
use tokio_rustls::rustls::{
    ServerConfig,
    pki_types::{CertificateDer, UnixTime},
};

use self::files::{Fingerprint, Loaded};
use crate::{clock::Clock, metrics::TlsMetrics};

/// The certificates in use.
#[derive(Debug)]
pub struct Tls {
    files: TlsFiles,
    current: ArcSwap<Loaded>,
    /// Told when callers are looked at with other eyes.
    changed: watch::Sender<()>,
}

impl Tls {
    /// Reads the certificates for the first time.
    pub fn load(files: TlsFiles) -> Result<Self, TlsError> {
        let current = ArcSwap::from_pointee(files.load()?);
        Ok(Self { files, current, changed: watch::Sender::new(()) })
    }

    /// When the certificates in use end.
    pub fn ends(&self) -> Ends {
        self.current.load().ends.clone()
    }

    /// For the next handshake.
    pub(super) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current.load().config)
    }

    /// Looks at the files again and again, and takes what has changed if it can be used. If it cannot, what was good
    /// last stays.
    pub async fn follow(self: Arc<Self>, every: Duration, metrics: TlsMetrics) {
        metrics.ends(&self.ends());
        let mut seen = Some(self.current.load().fingerprint);
        loop {
            sleep(every).await;
            let tls = Arc::clone(&self);
            let looked = tokio::task::spawn_blocking(move || tls.look_again(seen)).await;
            let Ok((fingerprint, outcome)) = looked else { continue };
            seen = fingerprint;
            match outcome {
                None => {}
                Some(Ok(())) => {
                    metrics.reloaded(true);
                    metrics.ends(&self.ends());
                    tracing::info!("certificates were reloaded");
                }
                Some(Err(error)) => {
                    metrics.reloaded(false);
                    tracing::error!(cause = %error, "certificates cannot be used; the last good ones stay");
                }
            }
        }
    }

    /// What the files look like now, and what came of it if they look other than `seen`.
    fn look_again(&self, seen: Option<Fingerprint>) -> (Option<Fingerprint>, Option<Result<(), TlsError>>) {
        let contents = match self.files.read() {
            Ok(contents) => contents,
            // Perhaps just being replaced. Said once.
            Err(error) => return (None, seen.map(|_| Err(error))),
        };
        let fingerprint = Some(contents.fingerprint());
        if fingerprint == seen {
            return (seen, None);
        }
        let outcome = self.files.load_contents(&contents).map(|loaded| {
            self.current.store(Arc::new(loaded));
            self.changed.send_replace(());
        });
        (fingerprint, Some(outcome))
    }

    /// Ends when nobody vouches any more for what a caller has shown under this configuration: it is over, or what has
    /// changed since refuses it.
    pub(super) fn disown(
        self: &Arc<Self>,
        credentials: Credentials,
        shown_under: Arc<ServerConfig>,
    ) -> impl Future<Output = ()> + use<> {
        let (tls, mut changes) = (Arc::clone(self), self.changed.subscribe());
        async move {
            let Credentials { chain, not_after, .. } = credentials;
            let left = not_after.duration_since(Clock::system().now());
            let over = sleep(left.try_into().unwrap_or_default());
            tokio::pin!(over);
            loop {
                let has_changed = !Arc::ptr_eq(&tls.config(), &shown_under);
                if has_changed && !tls.vouches_for(&chain) {
                    return;
                }
                tokio::select! {
                    () = &mut over => return,
                    news = changes.changed() => if news.is_err() { return },
                }
            }
        }
    }

    fn vouches_for(&self, chain: &[CertificateDer<'_>]) -> bool {
        let Some((leaf, between)) = chain.split_first() else { return true };
        let now = u64::try_from(Clock::system().now().as_second()).unwrap_or_default();
        let now = UnixTime::since_unix_epoch(Duration::from_secs(now));
        self.current.load().verifier.verify_client_cert(leaf, between, now).is_ok()
    }
}
