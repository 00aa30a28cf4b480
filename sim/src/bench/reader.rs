//! A reader's connection, and how taps go over it: each as a call of its own, or all over one stream, as station computers send
//! those of many gates.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use anyhow::Result;
use ridegate_proto::validator::v1::{
    CheckRequest, CheckResponse, validator_service_client::ValidatorServiceClient,
};
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming, transport::Channel};

/// Taps of one stream that may wait until HTTP/2 takes them.
const AHEAD: usize = 64;

/// Where a tap goes.
pub(super) enum Reader {
    /// `Check`.
    Calls(Channel),
    /// `CheckStream`.
    Stream(Stream),
}

/// A stream that goes on as long as the connection.
pub(super) struct Stream {
    taps: mpsc::Sender<CheckRequest>,
    waiting: Arc<Waiting>,
}

type Answer = Result<CheckResponse, Status>;

/// Who waits for an answer, by request id: answers may overtake each other. `None` when no more will come.
struct Waiting(Mutex<Option<HashMap<String, oneshot::Sender<Answer>>>>);

impl Reader {
    pub(super) async fn new(connection: Channel, with_stream: bool) -> Result<Self> {
        Ok(if with_stream { Self::Stream(Stream::open(connection).await?) } else { Self::Calls(connection) })
    }

    pub(super) async fn check(&self, tap: CheckRequest) -> Answer {
        match self {
            Self::Calls(connection) => {
                let answer = ValidatorServiceClient::new(connection.clone()).check(tap).await;
                answer.map(tonic::Response::into_inner)
            }
            Self::Stream(stream) => stream.check(tap).await,
        }
    }
}

impl Stream {
    async fn open(connection: Channel) -> Result<Self> {
        let (taps, outgoing) = mpsc::channel(AHEAD);
        let outgoing = ReceiverStream::new(outgoing);
        let answers = ValidatorServiceClient::new(connection).check_stream(outgoing).await?.into_inner();
        let waiting = Arc::new(Waiting(Mutex::new(Some(HashMap::new()))));
        tokio::spawn(Arc::clone(&waiting).hand_out(answers));
        Ok(Self { taps, waiting })
    }

    async fn check(&self, tap: CheckRequest) -> Answer {
        let answer = self.waiting.wait_for(tap.request_id.clone()).ok_or_else(ended)?;
        self.taps.send(tap).await.map_err(|_| ended())?;
        answer.await.unwrap_or_else(|_| Err(ended()))
    }
}

impl Waiting {
    fn lock(&self) -> MutexGuard<'_, Option<HashMap<String, oneshot::Sender<Answer>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_for(&self, request_id: String) -> Option<oneshot::Receiver<Answer>> {
        let (told, answer) = oneshot::channel();
        self.lock().as_mut()?.insert(request_id, told);
        Some(answer)
    }

    /// Gives every answer to who waits for it, and, when the stream has ended, its end to all who still do.
    async fn hand_out(self: Arc<Self>, mut answers: Streaming<CheckResponse>) {
        let why = loop {
            match answers.message().await {
                Ok(Some(answer)) => {
                    let told = self.lock().as_mut().and_then(|waiting| waiting.remove(&answer.request_id));
                    if let Some(told) = told {
                        // Whoever waited too long has gone.
                        let _gone = told.send(Ok(answer));
                    }
                }
                Ok(None) => break ended(),
                Err(why) => break why,
            }
        };
        for told in self.lock().take().unwrap_or_default().into_values() {
            let _gone = told.send(Err(why.clone()));
        }
    }
}

fn ended() -> Status {
    Status::unavailable("the stream has ended")
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;

    use ridegate_proto::validator::v1::{
        ReportInspectionRequest, ReportInspectionResponse,
        validator_service_server::{ValidatorService, ValidatorServiceServer},
    };
    use tokio_stream::StreamExt;
    use tonic::{Code, Request, Response, transport::Endpoint};

    use super::*;
    use crate::hosted::Hosted;

    /// Answers the second tap first, and at the third says why there is no more.
    struct Station;

    #[tonic::async_trait]
    impl ValidatorService for Station {
        async fn check(&self, _: Request<CheckRequest>) -> Result<Response<CheckResponse>, Status> {
            Err(Status::unimplemented("no calls"))
        }

        type CheckStreamStream = Pin<Box<dyn tokio_stream::Stream<Item = Answer> + Send>>;

        async fn check_stream(
            &self,
            taps: Request<Streaming<CheckRequest>>,
        ) -> Result<Response<Self::CheckStreamStream>, Status> {
            let mut taps = taps.into_inner();
            let (answers, outgoing) = mpsc::channel(4);
            tokio::spawn(async move {
                let mut taken = Vec::new();
                while let Some(Ok(CheckRequest { request_id, .. })) = taps.next().await {
                    taken.push(CheckResponse { request_id, ..CheckResponse::default() });
                    if taken.len() == 2 {
                        for answer in taken.drain(..).rev() {
                            answers.send(Ok(answer)).await.unwrap();
                        }
                        break;
                    }
                }
                let _third = taps.next().await;
                answers.send(Err(Status::resource_exhausted("enough"))).await.unwrap();
            });
            Ok(Response::new(Box::pin(ReceiverStream::new(outgoing))))
        }

        async fn report_inspection(
            &self,
            _: Request<ReportInspectionRequest>,
        ) -> Result<Response<ReportInspectionResponse>, Status> {
            Err(Status::unimplemented("no inspections"))
        }
    }

    #[tokio::test]
    async fn answers_find_their_taps_and_a_stream_that_ends_fails_those_that_wait() {
        let hosted = Hosted::listen(None).unwrap();
        hosted.serve(ValidatorServiceServer::new(Station)).unwrap();
        let connection = Endpoint::from_shared(hosted.endpoint()).unwrap().connect().await.unwrap();
        let reader = Reader::new(connection, true).await.unwrap();
        let tap = |name: &str| CheckRequest { request_id: name.to_owned(), ..CheckRequest::default() };
        let (one, two) = tokio::join!(reader.check(tap("one")), reader.check(tap("two")));
        assert_eq!([one, two].map(|answer| answer.unwrap().request_id), ["one", "two"]);
        assert_eq!(reader.check(tap("three")).await.unwrap_err().code(), Code::ResourceExhausted);
        assert_eq!(reader.check(tap("four")).await.unwrap_err().code(), Code::Unavailable);
        hosted.stop();
    }
}
