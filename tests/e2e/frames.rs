//! HTTP/2 by hand, for clients that do what no library would.

use std::sync::Arc;

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, RootCertStore,
        pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
        version::{TLS12, TLS13},
    },
};

use ridegate_sim::pki::Files;

use crate::house::House;

pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;
pub const ACK: u8 = 1;

/// A frame as it was received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

/// The error code of a `GOAWAY` or `RST_STREAM`.
impl Frame {
    pub fn code(&self) -> u32 {
        let tail = &self.payload[if self.kind == GOAWAY { 4 } else { 0 }..];
        u32::from_be_bytes(tail[..4].try_into().unwrap())
    }
}

pub trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Wire for T {}

/// A connection that has said the preface.
pub struct Client(pub Box<dyn Wire>);

impl Client {
    /// Says preface and settings.
    pub async fn greet(mut wire: Box<dyn Wire>) -> Self {
        wire.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()).await.unwrap();
        Self(wire)
    }

    /// As [`greet`](Self::greet), if somebody is still there.
    pub async fn greet_unless_gone(mut wire: Box<dyn Wire>) -> Option<Self> {
        wire.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()).await.ok()?;
        Some(Self(wire))
    }

    pub async fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.unwrap();
    }

    /// Whether somebody was still there to send it to.
    pub async fn send_unless_gone(&mut self, bytes: &[u8]) -> bool {
        self.0.write_all(bytes).await.is_ok()
    }

    /// The next frame; `None` at the end, however it came.
    pub async fn next(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.0.read_exact(&mut head).await.ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length.try_into().unwrap()];
        self.0.read_exact(&mut payload).await.ok()?;
        let stream = u32::from_be_bytes(head[5..9].try_into().unwrap());
        Some(Frame { kind: head[3], flags: head[4], stream, payload })
    }

    /// Reads on, acknowledging settings and pings, to the first frame of this kind.
    pub async fn until(&mut self, kind: u8) -> Option<Frame> {
        loop {
            let next = self.next().await?;
            if next.kind == kind {
                return Some(next);
            }
            self.acknowledge(&next).await;
        }
    }

    /// Reads to the end, acknowledging settings and pings.
    pub async fn attend(&mut self) -> Vec<Frame> {
        let mut frames = vec![];
        while let Some(next) = self.next().await {
            self.acknowledge(&next).await;
            frames.push(next);
        }
        frames
    }

    async fn acknowledge(&mut self, seen: &Frame) {
        if seen.flags & ACK == 0 && matches!(seen.kind, SETTINGS | PING) {
            let payload = if seen.kind == PING { &seen.payload[..] } else { &[] };
            // The other side may have gone meanwhile.
            let _gone = self.0.write_all(&frame(seen.kind, ACK, 0, payload)).await;
        }
    }

    /// Reads to the end and acknowledges nothing.
    pub async fn read_to_end(&mut self) -> Vec<Frame> {
        let mut frames = vec![];
        while let Some(next) = self.next().await {
            frames.push(next);
        }
        frames
    }
}

pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The headers of a call of `Check`, and this much more.
pub fn headers(more: &[(&str, &str)]) -> Vec<u8> {
    headers_of("/ridegate.validator.v1.ValidatorService/Check", more)
}

/// The headers of a call, without Huffman or tables.
pub fn headers_of(path: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let needed = [
        (":method", "POST"),
        (":scheme", "https"),
        (":path", path),
        (":authority", "localhost"),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
    ];
    let literal = |(name, value): &(&str, &str)| {
        [&[0_u8][..], &length(name.len()), name.as_bytes(), &length(value.len()), value.as_bytes()].concat()
    };
    needed.iter().chain(more).flat_map(literal).collect()
}

/// A message as gRPC frames it.
pub fn message(content: &impl prost::Message) -> Vec<u8> {
    let content = content.encode_to_vec();
    [&[0_u8][..], &u32::try_from(content.len()).unwrap().to_be_bytes(), &content].concat()
}

/// A string's length as HPACK writes it (RFC 7541, 5.1, prefix of 7 bits).
fn length(mut number: usize) -> Vec<u8> {
    if number < 127 {
        return vec![u8::try_from(number).unwrap()];
    }
    number -= 127;
    let mut bytes = vec![127];
    while number >= 128 {
        bytes.push(u8::try_from(number % 128 + 128).unwrap());
        number /= 128;
    }
    bytes.push(u8::try_from(number).unwrap());
    bytes
}

/// A TCP connection to the house, from this loopback address.
pub async fn connect_from(house: &House, from: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(format!("{from}:0").parse().unwrap()).unwrap();
    socket.connect(house.address()).await.unwrap()
}

pub async fn connect(house: &House) -> TcpStream {
    connect_from(house, "127.0.0.1").await
}

/// How a client speaks TLS.
#[derive(Clone, Copy)]
pub struct Terms {
    pub tls12: bool,
    pub alpn: &'static [u8],
}

pub const USUAL: Terms = Terms { tls12: false, alpn: b"h2" };

/// A TLS client with this certificate. Its sessions can be resumed.
pub fn tls_client(house: &House, files: &Files, terms: Terms) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(house.pki.as_ref().unwrap().ca()).unwrap()).unwrap();
    let chain = vec![CertificateDer::from_pem_file(&files.certificate).unwrap()];
    let key = PrivateKeyDer::from_pem_file(&files.key).unwrap();
    let versions = if terms.tls12 { vec![&TLS12] } else { vec![&TLS13] };
    let mut config = ClientConfig::builder_with_protocol_versions(&versions)
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .unwrap();
    config.alpn_protocols = vec![terms.alpn.to_vec()];
    Arc::new(config).into()
}

pub async fn secure(client: &TlsConnector, socket: TcpStream) -> std::io::Result<TlsStream<TcpStream>> {
    client.connect(ServerName::try_from("localhost").unwrap(), socket).await
}
