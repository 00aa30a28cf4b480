//! How messages are read and written.

use std::marker::PhantomData;

use prost::Message;
use tonic::codec::{BufferSettings, Codec};
use tonic_prost::{ProstCodec, ProstDecoder, ProstEncoder};

/// What a call's buffers begin with, in bytes. A tap and its answer have a few hundred, and longer messages make them grow.
/// tonic's own begin with 8 KiB: to be found for every call, and to be wiped after it.
const BEGIN_WITH: usize = 1024;
/// So much of a stream is collected before it is sent, in bytes; as tonic does.
const COLLECT: usize = 32 * 1024;

/// Protobuf, for messages that are short.
#[derive(Debug, Clone)]
pub struct ShortMessages<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for ShortMessages<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> Codec for ShortMessages<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = ProstEncoder<T>;
    type Decoder = ProstDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstCodec::<T, U>::raw_encoder(BufferSettings::new(BEGIN_WITH, COLLECT))
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstCodec::<T, U>::raw_decoder(BufferSettings::new(BEGIN_WITH, COLLECT))
    }
}
