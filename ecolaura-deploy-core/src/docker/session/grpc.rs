//! As much of gRPC as a session takes: messages with their length before them, and a status at the end.

use std::convert::Infallible;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use futures_util::{StreamExt as _, stream};
use http::{HeaderMap, HeaderName, HeaderValue, header::CONTENT_TYPE};
use http_body_util::{BodyExt as _, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    Response,
    body::{Frame, Incoming},
};
use prost::Message;
use tokio::sync::mpsc;

/// The most that a message may hold, in bytes: BuildKit's own are short.
const LARGEST: usize = 16 * 1024 * 1024;
const STATUS: HeaderName = HeaderName::from_static("grpc-status");
const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
/// What comes before a message: whether it is compressed, and its length.
pub(super) const PREFIX: usize = 5;

pub(super) type Reply = UnsyncBoxBody<Bytes, Infallible>;

/// How a call that failed ends.
#[derive(Debug)]
pub(super) struct Status {
    code: u8,
    message: String,
}

impl Status {
    pub(super) fn not_found(message: impl Into<String>) -> Self {
        Self { code: 5, message: message.into() }
    }

    pub(super) fn unimplemented() -> Self {
        Self { code: 12, message: "there is no such call".to_owned() }
    }

    pub(super) fn malformed() -> Self {
        Self { code: 3, message: "that is no message".to_owned() }
    }

    /// What went wrong here.
    pub(super) fn failed(message: impl Into<String>) -> Self {
        Self { code: 2, message: message.into() }
    }

    fn aborted() -> Self {
        Self { code: 10, message: "the connection broke off".to_owned() }
    }

    fn put(&self, headers: &mut HeaderMap) {
        headers.insert(STATUS, u16::from(self.code).into());
        if let Ok(message) = HeaderValue::from_str(&self.message) {
            headers.insert(MESSAGE, message);
        }
    }
}

/// The answer of a call that failed.
pub(super) fn refuse(status: &Status) -> Response<Reply> {
    let mut response = respond(StreamBody::new(stream::empty::<Result<_, Infallible>>()).boxed_unsync());
    status.put(response.headers_mut());
    response
}

/// The answer of a call that has one message.
pub(super) fn one(message: &impl Message) -> Response<Reply> {
    let frames = [Frame::data(framed(message)), Frame::trailers(success())];
    respond(StreamBody::new(stream::iter(frames.map(Ok::<_, Infallible>))).boxed_unsync())
}

/// The answer of a call that has one message, or failed.
pub(super) fn answer(made: Result<impl Message, Status>) -> Response<Reply> {
    made.map_or_else(|status| refuse(&status), |message| one(&message))
}

/// The one message of a call.
pub(super) async fn asked<M: Message + Default>(body: Incoming) -> Result<M, Status> {
    let message = Messages::new(body).next().await?.unwrap_or_default();
    M::decode(message).map_err(|_| Status::malformed())
}

/// The answer of a call that has as many messages as `messages` brings.
pub(super) fn many(mut messages: mpsc::Receiver<Bytes>) -> Response<Reply> {
    let messages = stream::poll_fn(move |task| messages.poll_recv(task)).map(Frame::data);
    let frames = messages.chain(stream::once(async { Frame::trailers(success()) }));
    respond(StreamBody::new(frames.map(Ok::<_, Infallible>)).boxed_unsync())
}

fn respond(body: Reply) -> Response<Reply> {
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}

fn success() -> HeaderMap {
    HeaderMap::from_iter([(STATUS, HeaderValue::from_static("0"))])
}

/// `message` as it is sent.
pub(super) fn framed(message: &impl Message) -> Bytes {
    let length = message.encoded_len();
    let mut bytes = BytesMut::with_capacity(PREFIX + length);
    bytes.put_u8(0);
    bytes.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    bytes.put(message.encode_to_vec().as_slice());
    bytes.freeze()
}

/// The messages of a call, as they come.
#[derive(Debug)]
pub(super) struct Messages {
    body: Incoming,
    read: BytesMut,
}

impl Messages {
    pub(super) fn new(body: Incoming) -> Self {
        Self { body, read: BytesMut::new() }
    }

    /// The next one; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Status> {
        loop {
            if let Some(message) = take(&mut self.read)? {
                return Ok(Some(message));
            }
            match self.body.frame().await {
                None => return Ok(None),
                Some(Err(_)) => return Err(Status::aborted()),
                Some(Ok(frame)) => _ = frame.into_data().map(|data| self.read.extend_from_slice(&data)),
            }
        }
    }
}

/// The first message of `read`, once all of it is there.
fn take(read: &mut BytesMut) -> Result<Option<Bytes>, Status> {
    let Some(mut prefix) = read.get(..PREFIX) else { return Ok(None) };
    let (compressed, length) = (prefix.get_u8() != 0, prefix.get_u32() as usize);
    if compressed || length > LARGEST {
        return Err(Status::malformed());
    }
    if read.len() < PREFIX + length {
        return Ok(None);
    }
    read.advance(PREFIX);
    Ok(Some(read.split_to(length).freeze()))
}
