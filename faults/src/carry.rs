//! One connection, with both of its ends.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use socket2::SockRef;
use tokio::{net::TcpStream, sync::watch, try_join};

use crate::{
    Counts, Fault, Stop, Way,
    pump::{Cut, Pump},
};

/// Carries what is said between `client` and a new connection to `to`, until both have nothing more to say, or it is cut.
pub(crate) async fn carry(
    mut client: TcpStream,
    to: Box<str>,
    seed: u64,
    mut told: watch::Receiver<Fault>,
    counts: Arc<Counts>,
) {
    let connected = tokio::select! {
        server = TcpStream::connect(&*to) => server.ok(),
        () = cut(&mut told) => None,
    };
    // The server is not there: the client, who is in already, hears it as nearly as can be.
    let Some(mut server) = connected else { return reset(&[client], &counts) };
    for end in [&client, &server] {
        // What is late is so because it shall be.
        let _best_effort = end.set_nodelay(true);
    }
    let ended = {
        let ((from_client, to_client), (from_server, to_server)) = (client.split(), server.split());
        let up = Pump::new(Way::Up, told.clone(), seed, &counts.up).carry(from_client, to_server);
        let down = Pump::new(Way::Down, told.clone(), seed.wrapping_add(1), &counts.down)
            .carry(from_server, to_client);
        // Once it is to be cut nothing more passes, whatever has come meanwhile.
        tokio::select! {
            biased;
            () = cut(&mut told) => Err(Cut),
            ended = async { try_join!(up, down).map(drop) } => ended,
        }
    };
    if ended == Err(Cut) {
        reset(&[client, server], &counts);
    }
}

/// Ends when connections are not to stand any more.
async fn cut(told: &mut watch::Receiver<Fault>) {
    let is_over = |fault: &Fault| matches!(fault.stop, Some(Stop::Refuse | Stop::Reset { after: 0 }));
    if told.wait_for(is_over).await.is_err() {
        // Nobody can tell any more, so nothing changes.
        std::future::pending::<()>().await;
    }
}

/// Closed with nothing lingering, a socket is reset.
fn reset<const ENDS: usize>(ends: &[TcpStream; ENDS], counts: &Counts) {
    counts.broken.fetch_add(1, Relaxed);
    for end in ends {
        let _best_effort = SockRef::from(end).set_linger(Some(Duration::ZERO));
    }
}
