//! Sentinels, which say where the master is.

use futures_util::future::join_all;
use redis::{ConnectionInfo, Value};
use tokio::time::timeout;

use super::{
    cause::Cause,
    connection::Connection,
    place::{Address, PATIENCE, Place},
};

/// Those that watch over one master, and connections to them, which are kept.
#[derive(Default)]
pub(super) struct Sentinels(Vec<Option<Connection>>);

impl Sentinels {
    /// The masters that they name, those first that most of them name: one that is cut off from the others does not know of
    /// a failover. All are asked at once, so that one that hangs makes it no later than it must be.
    pub(super) async fn masters(
        &mut self,
        place: &Place,
        master: &str,
    ) -> Result<Vec<ConnectionInfo>, Cause> {
        self.0.resize_with(place.nodes.len(), || None);
        let sentinels = self.0.iter_mut().zip(&place.nodes);
        let asked = join_all(sentinels.map(|(kept, node)| ask(place, node, master, kept))).await;
        let mut votes: Vec<(usize, &Address)> = Vec::new();
        for address in asked.iter().flatten() {
            match votes.iter_mut().find(|(_, named)| *named == address) {
                Some((number, _)) => *number += 1,
                None => votes.push((1, address)),
            }
        }
        votes.sort_by_key(|(number, _)| std::cmp::Reverse(*number));
        if votes.is_empty() {
            let why = asked.iter().find_map(|answer| answer.as_ref().err().copied());
            return Err(why.unwrap_or(Cause::NoMaster));
        }
        let named: Vec<_> = votes.iter().filter_map(|(_, address)| place.at(address).ok()).collect();
        if named.is_empty() { Err(Cause::Exposed) } else { Ok(named) }
    }
}

/// Over the connection that was kept; over a new one if that is lost.
async fn ask(
    place: &Place,
    node: &ConnectionInfo,
    master: &str,
    kept: &mut Option<Connection>,
) -> Result<Address, Cause> {
    let before = kept.take();
    let is_new = before.is_none();
    let mut connection = match before {
        Some(connection) => connection,
        None => place.connect_to_sentinel(node).await?,
    };
    let mut answer = ask_over(&connection, master).await;
    if !is_new && matches!(answer, Err(Cause::Lost | Cause::Unknown)) {
        connection = place.connect_to_sentinel(node).await?;
        answer = ask_over(&connection, master).await;
    }
    if answer.is_ok() {
        *kept = Some(connection);
    }
    answer
}

async fn ask_over(connection: &Connection, master: &str) -> Result<Address, Cause> {
    let mut command = redis::cmd("SENTINEL");
    command.arg("GET-MASTER-ADDR-BY-NAME").arg(master);
    let answer = timeout(PATIENCE, connection.send(command, false)).await.map_err(|_| Cause::Silent)?;
    let answer = answer.map_err(|error| Cause::of(&error))?;
    let address: Option<(String, u16)> = redis::from_redis_value(answer).map_err(|_| Cause::Question)?;
    address.map(|(host, port)| Address::new(host, port)).ok_or(Cause::NoMaster)
}

/// Sentinels may be behind: a server that says itself that it is none is not used.
pub(super) async fn must_be_master(connection: &Connection) -> Result<(), Cause> {
    let role = timeout(PATIENCE, connection.send(redis::cmd("ROLE"), false)).await;
    let role = role.map_err(|_| Cause::Silent)?.map_err(|error| Cause::of(&error))?;
    let Value::Array(role) = role else { return Err(Cause::Question) };
    let role: Option<Result<String, _>> = role.into_iter().next().map(redis::from_redis_value);
    if matches!(role, Some(Ok(role)) if role == "master") { Ok(()) } else { Err(Cause::Replica) }
}
