//! The messages of BuildKit's session and of its progress, as far as they are read or written here.

use prost::Message;

/// `fsutil.types.Packet`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Packet {
    #[prost(int32, tag = "1")]
    pub(super) kind: i32,
    #[prost(message, optional, tag = "2")]
    pub(super) stat: Option<Stat>,
    #[prost(uint32, tag = "3")]
    pub(super) id: u32,
    #[prost(bytes = "bytes", tag = "4")]
    pub(super) data: bytes::Bytes,
}

impl Packet {
    pub(super) const STAT: i32 = 0;
    pub(super) const REQUEST: i32 = 1;
    pub(super) const DATA: i32 = 2;
    pub(super) const FINISHED: i32 = 3;
    pub(super) const FAILED: i32 = 4;
}

/// `fsutil.types.Stat`, for a file that is owned by 0:0 and dated 1970.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Stat {
    #[prost(string, tag = "1")]
    pub(super) path: String,
    /// As Go has it.
    #[prost(uint32, tag = "2")]
    pub(super) mode: u32,
    #[prost(int64, tag = "5")]
    pub(super) size: i64,
    #[prost(string, tag = "7")]
    pub(super) link: String,
}

/// `moby.buildkit.secrets.v1.GetSecretRequest`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct SecretRequest {
    #[prost(string, tag = "1")]
    pub(super) id: String,
}

/// `moby.buildkit.secrets.v1.GetSecretResponse`. It has no `Debug` that could show the value.
#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub(super) struct SecretAnswer {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) data: Vec<u8>,
}

impl std::fmt::Debug for SecretAnswer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretAnswer(redacted)")
    }
}

/// `moby.filesync.v1.CredentialsRequest`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct LoginRequest {
    #[prost(string, tag = "1")]
    pub(super) host: String,
}

/// `moby.filesync.v1.CredentialsResponse`. It has no `Debug` that could show the secret.
#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub(super) struct LoginAnswer {
    /// Empty beside a token from which the registry's token server makes others.
    #[prost(string, tag = "1")]
    pub(super) username: String,
    #[prost(string, tag = "2")]
    pub(super) secret: String,
}

impl std::fmt::Debug for LoginAnswer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LoginAnswer(redacted)")
    }
}

/// `grpc.health.v1.HealthCheckResponse`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Health {
    #[prost(int32, tag = "1")]
    pub(super) status: i32,
}

impl Health {
    pub(super) const SERVING: Self = Self { status: 1 };
}

/// `moby.buildkit.v1.StatusResponse`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Progress {
    #[prost(message, repeated, tag = "1")]
    pub(super) vertexes: Vec<Vertex>,
    #[prost(message, repeated, tag = "3")]
    pub(super) logs: Vec<Log>,
}

/// A step, or what BuildKit does beside them.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Vertex {
    #[prost(string, tag = "1")]
    pub(super) digest: String,
    #[prost(string, tag = "3")]
    pub(super) name: String,
    #[prost(bool, tag = "4")]
    pub(super) cached: bool,
    #[prost(message, optional, tag = "5")]
    pub(super) started: Option<Moment>,
    #[prost(message, optional, tag = "6")]
    pub(super) completed: Option<Moment>,
    #[prost(string, tag = "7")]
    pub(super) error: String,
}

/// `google.protobuf.Timestamp`: only whether it is there is of interest.
#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct Moment {}

/// What a step wrote.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Log {
    #[prost(string, tag = "1")]
    pub(super) vertex: String,
    #[prost(int64, tag = "3")]
    pub(super) stream: i64,
    #[prost(bytes = "vec", tag = "4")]
    pub(super) text: Vec<u8>,
}
