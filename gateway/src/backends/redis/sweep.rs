//! Deleting by pattern: what an operator purges, and what was left of a registry that is another's now. Never on a verdict's
//! way.

use std::time::Duration;

use redis::{Pipeline, RedisResult};
use tokio::time::timeout;

use super::{Away, Lines, Redis, cause::Cause, connection::Connection};

/// Keys looked at in one step.
const PAGE: usize = 1_000;
/// Longest wait for one step.
const PATIENCE: Duration = Duration::from_secs(5);

impl Redis {
    /// Deletes every key that looks like this, at every node; tells how many. All of it must be there.
    pub async fn sweep(&self, pattern: &str) -> Result<u64, Away> {
        let nodes = match &self.lines {
            Lines::One(line) => vec![line.used()],
            Lines::Cluster(cluster) => cluster.connections(),
        };
        let mut swept = 0;
        for connections in nodes.into_iter().collect::<Option<Vec<_>>>().ok_or(Away::Unconnected)? {
            swept += sweep(connections.here(), pattern).await?;
        }
        Ok(swept)
    }
}

async fn sweep(connection: &Connection, pattern: &str) -> Result<u64, Away> {
    let (mut cursor, mut swept) = (0_u64, 0);
    loop {
        let mut scan = redis::cmd("SCAN");
        scan.arg(cursor).arg("MATCH").arg(pattern).arg("COUNT").arg(PAGE);
        let answer = within(connection.send(scan, false)).await?;
        let (next, keys): (u64, Vec<Vec<u8>>) = redis::from_redis_value(answer).map_err(|_| Away::Refused)?;
        let mut unlink = Pipeline::new();
        // One by one: in a cluster they lie in different slots.
        for key in &keys {
            unlink.cmd("UNLINK").arg(key);
        }
        if !keys.is_empty() {
            within(connection.send_all(&unlink)).await?;
            swept += keys.len() as u64;
        }
        if next == 0 {
            return Ok(swept);
        }
        cursor = next;
    }
}

async fn within<T>(answer: impl Future<Output = RedisResult<T>>) -> Result<T, Away> {
    let answer = timeout(PATIENCE, answer).await.map_err(|_| Away::TimedOut)?;
    answer.map_err(|error| if Cause::of(&error) == Cause::Silent { Away::TimedOut } else { Away::Refused })
}
