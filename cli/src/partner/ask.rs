//! What a partner's resolver says of a code.

use std::{fmt, time::Duration};

use jiff::Timestamp;
use ridegate_adapters::{OnlineCode, RideCode, UnixSeconds, masked};
use ridegate_gateway::{
    backends::{
        code_resolver::{Answer, CodeResolver, ResolverSettings},
        retry::Retries,
    },
    domain::passage::Direction,
    metrics::RetryMetrics,
};
use tokio::time::Instant;

use crate::Stop;

/// Time enough to connect; the gateway stays connected.
const TO_CONNECT: Duration = Duration::from_secs(2);

/// What it said, and how long it took.
pub(super) struct Asked {
    said: Result<RideCode, String>,
    took: Duration,
    timeout: Duration,
}

/// Asks twice: the first answer may have waited for the connection.
#[tokio::main(flavor = "current_thread")]
pub(super) async fn ask(
    settings: Option<ResolverSettings>,
    code: OnlineCode,
    payload: Vec<u8>,
    now: UnixSeconds,
) -> Result<Asked, Stop> {
    let settings = settings.ok_or_else(|| Stop::usage("--ask: the profile names no resolver"))?;
    let resolver = CodeResolver::new(settings.endpoint, Retries::new(RetryMetrics::default()));
    let timeout = settings.timeout;
    let failed = |error| Stop::Failed(anyhow::anyhow!("the resolver was asked: {error}"));
    let first = resolver.resolve(payload.clone().into(), Direction::Entry, timeout + TO_CONNECT).await;
    first.map_err(failed)?;
    let began = Instant::now();
    let answer = resolver.resolve(payload.into(), Direction::Entry, timeout).await.map_err(failed)?;
    let took = began.elapsed();
    let said = match answer {
        Answer::Code(reading) => code.read(reading, now).map_err(|error| error.to_string()),
        Answer::Refused(refusal) => Err(format!("it refuses the code: {refusal:?}")),
    };
    Ok(Asked { said, took, timeout })
}

impl Asked {
    pub(super) const fn passed(&self) -> bool {
        self.said.is_ok()
    }
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.took.as_secs_f64() * 1e3;
        writeln!(
            f,
            "  the resolver answered in {millis:.1} ms, of {} it may take",
            self.timeout.as_millis()
        )?;
        let code = match &self.said {
            Ok(code) => code,
            Err(why) => return write!(f, "  FAILED       {why}"),
        };
        let time = |at: UnixSeconds| {
            Timestamp::from_second(at.0).map_or_else(|_| "no time".into(), |at| at.to_string())
        };
        writeln!(f, "  account       {}", masked(code.medium.account().expose()))?;
        writeln!(
            f,
            "  code id       {}",
            code.id.as_ref().map(|id| masked(id.expose())).unwrap_or_default()
        )?;
        writeln!(f, "  generated at  {}", time(code.generated_at))?;
        writeln!(f, "  expires at    {}", time(code.expires_at))?;
        f.write_str("  genuine, says the partner")
    }
}
