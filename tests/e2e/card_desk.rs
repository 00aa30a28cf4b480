//! A gateway's desk for card companies, as the contract has it, in memory; and a line to it that can be cut.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    net::SocketAddr,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use ridegate_proto::partner::v1::{
    self as proto, BatchCount, BatchLinkRequest, BatchLinkResponse, BatchProgress, BatchRow, BatchRowResult,
    BatchRows, BatchStart, GetBatchRequest, GetBatchResponse, RefusedRow,
    batch_link_request::Part,
    partner_service_server::{PartnerService, PartnerServiceServer},
};
use ridegate_sim::pki::{Files, Pki};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    runtime::Runtime,
    sync::watch,
    task::JoinSet,
};
use tonic::{
    Request, Response, Status, Streaming,
    transport::{Certificate, Identity, Server, ServerTlsConfig, server::TcpIncoming},
};

/// As much as a gateway takes of a partner.
const MAX_MESSAGE: usize = 64 * 1024;
pub const CARD_COMPANY: &str = "urn:ridegate:partner:yikatong";

/// What happens once so many rows of a batch are carried out.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mishap {
    /// Every connection is cut; the client does not learn that the rows were carried out.
    Cut,
    /// The registry is away.
    Unavailable,
    /// The same, after the client has learned by asking how far the batch is.
    LaterUnavailable,
    /// Nothing more, until `go_on`.
    Hold,
    /// The call is refused for good.
    Refuse,
    /// The gateway goes away for good.
    Vanish,
}

#[derive(Clone, Default)]
pub struct Batch {
    pub start: BatchStart,
    /// What was carried out, in order.
    pub rows: Vec<(BatchRow, BatchRowResult)>,
}

#[derive(Default)]
struct Book {
    batches: HashMap<String, Batch>,
    /// By card number; every other is linked.
    results: HashMap<String, BatchRowResult>,
    mishaps: VecDeque<(usize, Mishap)>,
}

#[derive(Clone)]
struct Desk {
    book: Arc<Mutex<Book>>,
    calls: Arc<AtomicUsize>,
    received: Arc<AtomicUsize>,
    /// How often somebody asked how far a batch is.
    asked: watch::Sender<usize>,
    held: watch::Sender<bool>,
    /// Counts up at every cut.
    cuts: watch::Sender<usize>,
    open: watch::Sender<bool>,
}

/// The desk, served.
pub struct Gateway {
    desk: Desk,
    address: SocketAddr,
    runtime: Runtime,
}

impl Gateway {
    /// Serves on a free port. Every card is linked.
    pub fn start() -> Self {
        Self::serve([], None)
    }

    /// These numbers come to something else than being linked.
    pub fn refusing(results: impl IntoIterator<Item = (String, BatchRowResult)>) -> Self {
        Self::serve(results, None)
    }

    /// For callers with a certificate of this authority's.
    pub fn guarded(pki: &Pki) -> Self {
        let Files { certificate, key } = pki.server(&["127.0.0.1".into()]).unwrap();
        let read = |file: &Path| std::fs::read(file).unwrap();
        let tls = ServerTlsConfig::new().identity(Identity::from_pem(read(&certificate), read(&key)));
        Self::serve([], Some(tls.client_ca_root(Certificate::from_pem(read(&pki.ca())))))
    }

    fn serve(
        results: impl IntoIterator<Item = (String, BatchRowResult)>,
        tls: Option<ServerTlsConfig>,
    ) -> Self {
        let book = Book { results: results.into_iter().collect(), ..Book::default() };
        let desk = Desk {
            book: Arc::new(Mutex::new(book)),
            calls: Arc::default(),
            received: Arc::default(),
            asked: watch::Sender::new(0),
            held: watch::Sender::new(false),
            cuts: watch::Sender::new(0),
            open: watch::Sender::new(true),
        };
        let runtime = Runtime::new().unwrap();
        let bind = || runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let (inner, outer) = (bind(), bind());
        let (behind, address) = (inner.local_addr().unwrap(), outer.local_addr().unwrap());
        let service = PartnerServiceServer::new(desk.clone()).max_decoding_message_size(MAX_MESSAGE);
        let mut server = tls.into_iter().try_fold(Server::builder(), Server::tls_config).unwrap();
        runtime.spawn(server.add_service(service).serve_with_incoming(TcpIncoming::from(inner)));
        runtime.spawn(line(outer, behind, desk.cuts.subscribe(), desk.open.subscribe()));
        Self { desk, address, runtime }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// These happen in turn.
    pub fn expect(&self, mishaps: &[(usize, Mishap)]) {
        self.desk.book.lock().unwrap().mishaps.extend(mishaps);
    }

    /// Somebody sent these rows before.
    pub fn has_done(&self, batch: &str, start: BatchStart, rows: &[BatchRow]) {
        let rows = rows.iter().map(|row| (row.clone(), BatchRowResult::Linked)).collect();
        self.desk.book.lock().unwrap().batches.insert(batch.into(), Batch { start, rows });
    }

    /// The one batch that was sent.
    pub fn batch(&self) -> Batch {
        let book = self.desk.book.lock().unwrap();
        assert_eq!(book.batches.len(), 1);
        book.batches.values().next().unwrap().clone()
    }

    /// How many streams were begun.
    pub fn calls(&self) -> usize {
        self.desk.calls.load(Relaxed)
    }

    /// How many rows came, also such as were carried out before.
    pub fn received(&self) -> usize {
        self.desk.received.load(Relaxed)
    }

    /// Waits until nothing more happens.
    pub fn is_held(&self) {
        let mut held = self.desk.held.subscribe();
        self.runtime.block_on(async {
            held.wait_for(|held| *held).await.unwrap();
        });
    }

    pub fn go_on(&self) {
        self.desk.held.send_replace(false);
    }
}

/// Passes bytes on until it is cut.
async fn line(
    outer: TcpListener,
    behind: SocketAddr,
    mut cuts: watch::Receiver<usize>,
    open: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = outer.accept() => {
                let (mut caller, _) = accepted.unwrap();
                if !*open.borrow() {
                    continue;
                }
                connections.spawn(async move {
                    let mut gateway = TcpStream::connect(behind).await.unwrap();
                    let _over = copy_bidirectional(&mut caller, &mut gateway).await;
                });
            }
            _ = cuts.changed() => connections.shutdown().await,
        }
    }
}

impl Desk {
    /// All rows of a message or none. Returns what happens then.
    fn carry_out(&self, id: &str, message: BatchRows) -> Result<Option<Mishap>, Status> {
        let mut book = self.book.lock().unwrap();
        if message.rows.is_empty() || message.rows.len() > 500 {
            return Err(Status::invalid_argument("rows: 1 to 500"));
        }
        self.received.fetch_add(message.rows.len(), Relaxed);
        let Book { batches, results, mishaps } = &mut *book;
        let done = &mut batches.get_mut(id).unwrap().rows;
        let first = usize::try_from(message.first_row).unwrap();
        if first > done.len() {
            return Err(Status::failed_precondition("rows are left out"));
        }
        let new = message.rows.into_iter().skip(done.len() - first);
        for row in new {
            let number = &row.medium.as_ref().unwrap().account;
            let result = results.get(number).copied().unwrap_or(BatchRowResult::Linked);
            done.push((row, result));
        }
        let due = mishaps.front().is_some_and(|(rows, _)| *rows <= done.len());
        Ok(due.then(|| mishaps.pop_front().unwrap().1))
    }

    async fn suffer(&self, mishap: Mishap) -> Result<(), Status> {
        match mishap {
            Mishap::LaterUnavailable => {
                let mut asked = self.asked.subscribe();
                let now = *asked.borrow();
                // Who asks for the second time has had its first answer.
                asked.wait_for(|asked| *asked >= now + 2).await.unwrap();
                return Err(Status::unavailable("the registry is away"));
            }
            Mishap::Unavailable => return Err(Status::unavailable("the registry is away")),
            Mishap::Refuse => return Err(Status::permission_denied("no cards of yours")),
            Mishap::Hold => {
                self.held.send_replace(true);
                self.held.subscribe().wait_for(|held| !*held).await.unwrap();
            }
            Mishap::Cut | Mishap::Vanish => {
                self.open.send_replace(mishap == Mishap::Cut);
                self.cuts.send_modify(|cuts| *cuts += 1);
                std::future::pending::<()>().await;
            }
        }
        Ok(())
    }

    fn progress(&self, id: &str) -> Option<BatchProgress> {
        let book = self.book.lock().unwrap();
        let rows = &book.batches.get(id)?.rows;
        let mut counts = BTreeMap::new();
        for (_, result) in rows {
            *counts.entry(i32::from(*result)).or_insert(0) += 1;
        }
        let counts = counts.into_iter().map(|(result, rows)| BatchCount { result, rows }).collect();
        Some(BatchProgress { rows_done: rows.len() as u64, counts })
    }
}

fn admit<T>(request: &Request<T>) -> Result<(), Status> {
    let identity = request.metadata().get("x-ridegate-identity");
    // Over TLS whoever comes in has a certificate.
    let known = identity.map_or(request.peer_certs().is_some(), |identity| identity == CARD_COMPANY);
    known.then_some(()).ok_or_else(|| Status::permission_denied("not a card company"))
}

#[tonic::async_trait]
impl PartnerService for Desk {
    async fn batch_link(
        &self,
        request: Request<Streaming<BatchLinkRequest>>,
    ) -> Result<Response<BatchLinkResponse>, Status> {
        admit(&request)?;
        self.calls.fetch_add(1, Relaxed);
        let mut parts = request.into_inner();
        let Some(Part::Start(start)) = parts.message().await?.and_then(|message| message.part) else {
            return Err(Status::invalid_argument("part: a start comes first"));
        };
        let id = start.batch_id.clone();
        assert!((1..=64).contains(&id.chars().count()));
        let known = {
            let mut book = self.book.lock().unwrap();
            let batch = book
                .batches
                .entry(id.clone())
                .or_insert_with(|| Batch { start: start.clone(), rows: vec![] });
            batch.start == start
        };
        assert!(known, "the same start under the same id");
        while let Some(message) = parts.message().await? {
            let Some(Part::Rows(rows)) = message.part else {
                return Err(Status::invalid_argument("part: rows come after the start"));
            };
            if let Some(mishap) = self.carry_out(&id, rows)? {
                self.suffer(mishap).await?;
            }
        }
        Ok(Response::new(BatchLinkResponse { progress: self.progress(&id) }))
    }

    async fn get_batch(
        &self,
        request: Request<GetBatchRequest>,
    ) -> Result<Response<GetBatchResponse>, Status> {
        admit(&request)?;
        self.asked.send_modify(|asked| *asked += 1);
        let GetBatchRequest { batch_id, from_row } = request.into_inner();
        let progress = self.progress(&batch_id).ok_or_else(|| Status::not_found("no such batch"))?;
        let book = self.book.lock().unwrap();
        let rows = (0..).zip(&book.batches[&batch_id].rows);
        let linked = [BatchRowResult::Linked, BatchRowResult::AlreadyLinked];
        let refused = rows.filter(|(row, (_, result))| *row >= from_row && !linked.contains(result));
        let refused = refused.map(|(row, (_, result))| RefusedRow { row, result: (*result).into() });
        Ok(Response::new(GetBatchResponse {
            progress: Some(progress),
            refused: refused.take(1000).collect(),
        }))
    }

    async fn link_rider(
        &self,
        _: Request<proto::LinkRiderRequest>,
    ) -> Result<Response<proto::LinkRiderResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn unlink_rider(
        &self,
        _: Request<proto::UnlinkRiderRequest>,
    ) -> Result<Response<proto::UnlinkRiderResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn get_link(
        &self,
        _: Request<proto::GetLinkRequest>,
    ) -> Result<Response<proto::GetLinkResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn report_lost(
        &self,
        _: Request<proto::ReportLostRequest>,
    ) -> Result<Response<proto::ReportLostResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn report_reissued(
        &self,
        _: Request<proto::ReportReissuedRequest>,
    ) -> Result<Response<proto::ReportReissuedResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn report_returned(
        &self,
        _: Request<proto::ReportReturnedRequest>,
    ) -> Result<Response<proto::ReportReturnedResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn start_delegated_link(
        &self,
        _: Request<proto::StartDelegatedLinkRequest>,
    ) -> Result<Response<proto::StartDelegatedLinkResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn resend_delegated_code(
        &self,
        _: Request<proto::ResendDelegatedCodeRequest>,
    ) -> Result<Response<proto::ResendDelegatedCodeResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn confirm_delegated_link(
        &self,
        _: Request<proto::ConfirmDelegatedLinkRequest>,
    ) -> Result<Response<proto::ConfirmDelegatedLinkResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn get_quota(
        &self,
        _: Request<proto::GetQuotaRequest>,
    ) -> Result<Response<proto::GetQuotaResponse>, Status> {
        Err(Status::unimplemented(""))
    }
}
