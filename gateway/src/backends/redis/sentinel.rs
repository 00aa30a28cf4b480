//! Sentinels, which say where the master is.

use redis::{ConnectionInfo, Value};
use tokio::time::timeout;

use super::{
    cause::Cause,
    line::Connection,
    place::{Address, PATIENCE, Place},
};

/// The master, as the first Sentinel says that knows one.
pub(super) async fn ask(place: &Place, master: &str) -> Result<ConnectionInfo, Cause> {
    let mut why = Cause::NoMaster;
    for sentinel in &place.nodes {
        match ask_one(place, sentinel, master).await {
            Ok(address) => return place.at(&address).ok_or(Cause::NoMaster),
            Err(cause) => why = cause,
        }
    }
    Err(why)
}

async fn ask_one(place: &Place, sentinel: &ConnectionInfo, master: &str) -> Result<Address, Cause> {
    let connection = Connection::new(place.connect_to_sentinel(sentinel).await?);
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
