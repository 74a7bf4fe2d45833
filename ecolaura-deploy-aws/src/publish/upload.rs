//! Storing one file: in one request, or in parts.

use std::{collections::BTreeMap, time::Duration};

use aws_sdk_s3::{
    primitives::ByteStream,
    types::{CompletedMultipartUpload, CompletedPart},
};
use bytes::Bytes;
use ecolaura_deploy_core::{
    Effect, Error, ErrorKind, Result,
    backend::{SiteObject, UploadRequest},
    vocabulary::{Digest, Digester},
};
use futures_util::{StreamExt as _, stream::FuturesUnordered};

use super::{
    bucket::{Bucket, COLLISIONS, Condition, Within, has_code, pass, written},
    headers::{Headers, mark, with_headers},
    patience::{JOINING, patient, sending},
    publisher::S3Cdn,
    reader::{self, Reader},
};
use crate::CALLS;

/// How many parts S3 takes.
const PARTS: u64 = 10_000;
/// How many parts of one file are on their way at a time.
const PARTS_AT_ONCE: usize = 4;
/// How long the removal of a half upload may take after a cancel.
const ABORT: Duration = Duration::from_secs(30);

/// Where a file goes, and with which headers.
struct Place {
    key: String,
    headers: Headers,
}

/// The size of the parts of a file.
pub(super) fn part_size(size: u64, least: u64) -> u64 {
    least.max(size.div_ceil(PARTS))
}

impl S3Cdn {
    /// Whether bytes were sent.
    pub(super) async fn store(&self, within: Within<'_>, request: &UploadRequest) -> Result<bool> {
        let UploadRequest { key, object, .. } = request;
        let place = self.place(within, key, object)?;
        if self.holds(key, object) || (object.size > self.part && self.occupied(within, request, &place).await?) {
            return Ok(false);
        }
        for met in 0..COLLISIONS {
            pass(within, met).await?;
            match self.send(within, request, &place).await {
                Ok(true) => {
                    self.note(key, object);
                    return Ok(true);
                }
                Ok(false) if self.occupied(within, request, &place).await? => return Ok(false),
                // Refused and not there: another write is on its way, or came to nothing.
                Ok(false) => {}
                // No answer came, or none that says what happened: what is there says it.
                Err(error) if error.effect() == Effect::Unknown => {
                    return match self.occupied(within, request, &place).await {
                        Ok(true) => Ok(true),
                        _ => Err(error),
                    };
                }
                Err(error) => return Err(error),
            }
        }
        Err(self.contended(within, &place))
    }

    /// `false` if something is there already, or on its way.
    async fn send(&self, within: Within<'_>, request: &UploadRequest, place: &Place) -> Result<bool> {
        match request.object.size > self.part {
            true => self.send_parts(within, request, place).await,
            false => self.send_whole(within, request, place).await,
        }
    }

    fn contended(&self, within: Within<'_>, place: &Place) -> Error {
        let message =
            format!("`{}` is not there, and {COLLISIONS} writes met another one", self.bucket.url(&place.key));
        Error::new(ErrorKind::Unavailable, within.1, message)
            .advice("see who else publishes to this site, then run again")
    }

    fn place(&self, within: Within<'_>, key: &str, object: &SiteObject) -> Result<Place> {
        self.fits_alone(within.1, key, object)?;
        if object.is_immutable() {
            return Ok(Place { key: self.served_key(key), headers: Headers::served(within.1, &self.name, object)? });
        }
        Ok(Place { key: self.content_key(object.digest), headers: Headers::stored(&self.name, object.digest) })
    }

    fn holds(&self, key: &str, object: &SiteObject) -> bool {
        match object.is_immutable() {
            true => self.known.holds(key, object.digest),
            false => self.contents.holds(&object.digest.to_hex(), object.digest),
        }
    }

    fn note(&self, key: &str, object: &SiteObject) {
        match object.is_immutable() {
            true => self.known.note(key, object.digest, Some(mark(object).to_hex())),
            false => self.contents.note(&object.digest.to_hex(), object.digest, None),
        }
    }

    /// Whether the content is at its place. Fails if something else is.
    async fn occupied(&self, within: Within<'_>, request: &UploadRequest, place: &Place) -> Result<bool> {
        let UploadRequest { key, object, .. } = request;
        let Some(seen) = self.bucket.head(within, &place.key).await? else { return Ok(false) };
        let found = match seen.digest {
            None if seen.size == object.size => Some(self.digest_of(within, &place.key).await?),
            found => found,
        };
        if found != Some(object.digest) || seen.size != object.size {
            return Err(self.other(within, &place.key, object, (found, seen.size)));
        }
        if seen.digest.is_none() {
            // Somebody else put it there; from now on it tells what it is.
            self.bucket.copy(within, (&place.key, object.size), &place.key, &place.headers).await?;
            self.note(key, object);
        } else if object.is_immutable() {
            self.known.note(key, object.digest, seen.mark);
        } else {
            self.note(key, object);
        }
        Ok(true)
    }

    async fn digest_of(&self, within: Within<'_>, key: &str) -> Result<Digest> {
        let call = self.bucket.reads(within, "s3:GetObject", key);
        let answer = call.send(self.bucket.client.get_object().bucket(&self.bucket.name).key(key).send()).await?;
        let (mut body, mut digester) = (answer.body, Digester::new());
        while let Some(piece) = within.0.bounded(within.1, body.next()).await? {
            digester.update(piece.map_err(|error| {
                let message = format!("`{}` could not be read to its end", self.bucket.url(key));
                Error::new(ErrorKind::Unavailable, within.1, message).with_source(error)
            })?);
        }
        Ok(digester.finish())
    }

    fn other(&self, within: Within<'_>, key: &str, object: &SiteObject, found: (Option<Digest>, u64)) -> Error {
        let digest = found.0.map_or_else(|| "unknown content".to_owned(), |digest| digest.to_string());
        let message =
            format!("`{}` is there with other content, and its name promises one for ever", self.bucket.url(key));
        Error::new(ErrorKind::Conflict, within.1, message)
            .with("found", format!("{digest}, {} bytes", found.1))
            .with("expected", format!("{}, {} bytes", object.digest, object.size))
            .advice("give the file another name, best with a hash of its content; what is there may be served")
    }

    /// As [`S3Cdn::send`].
    async fn send_whole(&self, within: Within<'_>, request: &UploadRequest, place: &Place) -> Result<bool> {
        let _held = self.hold(within, request.object.size).await?;
        let content = reader::whole(within.1, &request.source, &request.object).await?;
        let conditions = (&Condition::New, &place.headers);
        let patience = sending(content.len() as u64);
        Ok(self.bucket.put(within, &place.key, content, conditions, patience).await?.is_some())
    }

    /// As [`S3Cdn::send`].
    async fn send_parts(&self, within: Within<'_>, request: &UploadRequest, place: &Place) -> Result<bool> {
        let reader = Reader::open(within.1, &request.source).await?;
        let upload = Multipart::begin(&self.bucket, within, place).await?;
        let result = match self.send_all(within, request, &upload, reader).await {
            // No answer came: if the file is there, the upload ended, and nothing is to be taken away.
            Err(error) if error.effect() == Effect::Unknown => match self.occupied(within, request, place).await {
                Ok(true) => Ok(true),
                _ => Err(error),
            },
            result => result,
        };
        match result {
            Ok(true) => {
                upload.ended();
                Ok(true)
            }
            other => {
                upload.abort(within).await;
                other
            }
        }
    }

    async fn send_all(
        &self,
        within: Within<'_>,
        request: &UploadRequest,
        upload: &Multipart<'_>,
        mut reader: Reader,
    ) -> Result<bool> {
        let size = part_size(request.object.size, self.part);
        let (mut parts, mut sending) = (BTreeMap::new(), FuturesUnordered::new());
        for number in 1.. {
            // What comes after the end shows a file that grew.
            let wanted = size.min(request.object.size.saturating_sub(reader.read())).max(1);
            let held = loop {
                tokio::select! {
                    biased;
                    Some(part) = sending.next(), if !sending.is_empty() => keep(&mut parts, part)?,
                    held = self.hold(within, wanted), if sending.len() < PARTS_AT_ONCE => break held?,
                }
            };
            let (next, piece) = reader.next_within(wanted, &self.buffers).await?;
            reader = next;
            if piece.is_empty() || reader.read() > request.object.size {
                break;
            }
            sending.push(async move {
                let _held = held;
                upload.part(within, number, piece).await
            });
        }
        while let Some(part) = sending.next().await {
            keep(&mut parts, part)?;
        }
        reader.verify(&request.object)?;
        upload.complete(within, parts.into_values().collect()).await
    }
}

fn keep(parts: &mut BTreeMap<i32, CompletedPart>, part: Result<(i32, CompletedPart)>) -> Result<()> {
    let (number, part) = part?;
    parts.insert(number, part);
    Ok(())
}

/// An upload in parts that is under way. If it is dropped before its end, S3 is asked to forget it.
struct Multipart<'a> {
    bucket: &'a Bucket,
    place: &'a Place,
    id: String,
    open: bool,
}

impl<'a> Multipart<'a> {
    async fn begin(bucket: &'a Bucket, within: Within<'_>, place: &'a Place) -> Result<Self> {
        let call = bucket.writes(within, "s3:PutObject", &place.key);
        let request = bucket.client.create_multipart_upload().bucket(&bucket.name).key(&place.key);
        let answer = call.send(with_headers!(request, place.headers).send()).await?;
        let id = answer.upload_id.ok_or_else(|| {
            Error::new(ErrorKind::Corrupt, within.1, format!("no upload was named for `{}`", bucket.url(&place.key)))
        })?;
        Ok(Self { bucket, place, id, open: true })
    }

    async fn part(&self, within: Within<'_>, number: i32, content: Bytes) -> Result<(i32, CompletedPart)> {
        let call = self.bucket.writes(within, "s3:PutObject", &self.place.key);
        let request = self.bucket.client.upload_part().bucket(&self.bucket.name).key(&self.place.key);
        let patience = sending(content.len() as u64);
        let request = request.upload_id(&self.id).part_number(number).body(ByteStream::from(content));
        let request = request.customize().config_override(patient(patience));
        let answer = call.send(request.send()).await.map_err(|error| error.with("part", number))?;
        let part = CompletedPart::builder()
            .part_number(number)
            .set_e_tag(answer.e_tag)
            .set_checksum_crc32(answer.checksum_crc32)
            .build();
        Ok((number, part))
    }

    /// `false` if something is there already.
    async fn complete(&self, within: Within<'_>, parts: Vec<CompletedPart>) -> Result<bool> {
        let call = self.bucket.writes(within, "s3:PutObject", &self.place.key);
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        let request = self.bucket.client.complete_multipart_upload().bucket(&self.bucket.name).key(&self.place.key);
        let request = request.upload_id(&self.id).if_none_match("*").multipart_upload(parts);
        let request = request.customize().config_override(patient(JOINING));
        match call.attempt(request.send()).await? {
            // An attempt before this one may have ended it, and its answer was lost.
            Err(error) if has_code(&error, "NoSuchUpload") => Err(call.failed(&error).with_effect(Effect::Unknown)),
            answer => Ok(written(&call, answer)?.is_some()),
        }
    }

    fn ended(mut self) {
        self.open = false;
    }

    /// Makes S3 forget the parts. What it cannot be told is left over, for the doctor and the bucket's own rule.
    async fn abort(mut self, (cx, operation): Within<'_>) {
        self.open = false;
        if tokio::time::timeout(ABORT, forget(self.bucket.clone(), self.place.key.clone(), self.id.clone())).await
            != Ok(true)
        {
            let place = self.bucket.url(&self.place.key);
            cx.warn(format!("{operation}: the half upload of `{place}` could not be removed; the doctor can"));
        }
    }
}

impl Drop for Multipart<'_> {
    fn drop(&mut self) {
        if self.open
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let forgotten = forget(self.bucket.clone(), self.place.key.clone(), self.id.clone());
            runtime.spawn(tokio::time::timeout(ABORT, forgotten));
        }
    }
}

/// Whether the upload is gone.
pub(super) async fn forget(bucket: Bucket, key: String, id: String) -> bool {
    tracing::debug!(target: CALLS, action = "s3:AbortMultipartUpload", resource = bucket.arn(&key), "call");
    let request = bucket.client.abort_multipart_upload().bucket(&bucket.name).key(key).upload_id(id);
    match request.send().await {
        Ok(_) => true,
        Err(error) => super::bucket::status(&error) == Some(404),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_grow_with_the_file_so_that_there_are_never_too_many() {
        const MIB: u64 = 1024 * 1024;
        assert_eq!(part_size(9 * MIB, 8 * MIB), 8 * MIB);
        let huge = 500_000 * MIB + 1;
        assert!(huge.div_ceil(part_size(huge, 8 * MIB)) <= PARTS);
    }
}
