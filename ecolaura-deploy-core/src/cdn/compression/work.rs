//! Making variants, file by file and in constant memory.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use flate2::{GzBuilder, read::MultiGzDecoder};

use super::Compression;
use crate::{
    Context, Error, Result,
    cdn::{Encoding, digesting},
    vocabulary::{Digest, Digester},
};

/// The most that Brotli looks back, as a power of two: what every decoder takes.
const WINDOW: u32 = 22;
/// Of gzip; its 9 takes twice the time for nothing one could see.
const LEVEL: u32 = 6;

/// A variant that a file should have.
#[derive(Debug, Clone)]
pub(in crate::cdn) struct Wanted {
    pub(in crate::cdn) key: String,
    pub(in crate::cdn) encoding: Encoding,
    /// The original.
    pub(in crate::cdn) file: PathBuf,
    pub(in crate::cdn) digest: Digest,
    pub(in crate::cdn) size: u64,
    /// The variant that the build has made.
    pub(in crate::cdn) found: Option<PathBuf>,
}

/// A variant.
#[derive(Debug)]
pub(in crate::cdn) struct Made {
    pub(in crate::cdn) file: PathBuf,
    pub(in crate::cdn) digest: Digest,
    pub(in crate::cdn) size: u64,
    /// Otherwise it holds the original's bytes.
    pub(in crate::cdn) encoded: bool,
}

/// Makes `wanted` below `folder`, or checks what was found, in their order; `Err` says what is wrong with one. What was
/// made there before is not made again.
pub(in crate::cdn) async fn make(
    cx: &Context,
    operation: &'static str,
    rule: &Compression,
    folder: &Path,
    wanted: Vec<Wanted>,
) -> Result<Vec<Result<Made, String>>> {
    let job = Job { operation, rule: rule.clone(), folder: folder.to_owned() };
    digesting::each(cx, operation, wanted, move |cx, wanted, buffer| job.make(cx, wanted, buffer)).await
}

struct Job {
    operation: &'static str,
    rule: Compression,
    folder: PathBuf,
}

impl Job {
    fn make(&self, cx: &Context, wanted: &Wanted, buffer: &mut [u8]) -> Result<Made> {
        if let Some(found) = &wanted.found {
            return self.check(cx, wanted, found, buffer);
        }
        let original = || Made { file: wanted.file.clone(), digest: wanted.digest, size: wanted.size, encoded: false };
        if wanted.size <= self.rule.above {
            return Ok(original());
        }
        let file =
            self.folder.join(format!("{}-{}{}", wanted.digest.to_hex(), self.rule.quality, wanted.encoding.suffix()));
        if !file.exists() {
            self.compress(cx, wanted, &file, buffer)?;
        }
        let (digest, size) = digesting::read(cx, self.operation, &file, buffer)?;
        Ok(if size < wanted.size { Made { file, digest, size, encoded: true } } else { original() })
    }

    /// Under another name until it is whole; two files with the same content make the same.
    fn compress(&self, cx: &Context, wanted: &Wanted, file: &Path, buffer: &mut [u8]) -> Result<()> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let part = self.folder.join(format!("part-{}", NEXT.fetch_add(1, Ordering::Relaxed)));
        let failed = |error| Error::io(self.operation, &part, error);
        let output = File::create(&part).map_err(failed)?;
        let mut input = Input { cx, operation: self.operation, path: &wanted.file, digester: Digester::new() };
        match wanted.encoding {
            Encoding::Brotli => {
                let mut encoder = brotli::CompressorWriter::new(output, buffer.len(), self.rule.quality, WINDOW);
                input.pour(&mut encoder, buffer, &part)?;
                encoder.flush().map_err(failed)?;
            }
            Encoding::Gzip => {
                let mut encoder =
                    GzBuilder::new().mtime(0).operating_system(255).write(output, flate2::Compression::new(LEVEL));
                input.pour(&mut encoder, buffer, &part)?;
                encoder.finish().map_err(failed)?;
            }
        }
        if input.digester.finish() != wanted.digest {
            return Err(Error::invalid(
                self.operation,
                format!("`{}` changed while it was read", wanted.file.display()),
            ));
        }
        fs::rename(&part, file).map_err(failed)
    }

    /// A variant of an older build beside a newer file would be another page to some browsers.
    fn check(&self, cx: &Context, wanted: &Wanted, found: &Path, buffer: &mut [u8]) -> Result<Made> {
        let input = File::open(found).map_err(|error| Error::io(self.operation, found, error))?;
        let holds = match wanted.encoding {
            Encoding::Brotli => self.unpacked(cx, brotli::Decompressor::new(input, 64 * 1024), wanted, buffer),
            Encoding::Gzip => self.unpacked(cx, MultiGzDecoder::new(io::BufReader::new(input)), wanted, buffer),
        }?;
        if !holds {
            let message =
                format!("`{}{}` does not hold what `{0}` does; build both again", wanted.key, wanted.encoding.suffix());
            return Err(Error::invalid(self.operation, message));
        }
        let (digest, size) = digesting::read(cx, self.operation, found, buffer)?;
        Ok(Made { file: found.to_owned(), digest, size, encoded: true })
    }

    /// Whether it unpacks to the original. No more of it is unpacked than the original has.
    fn unpacked(&self, cx: &Context, input: impl Read, wanted: &Wanted, buffer: &mut [u8]) -> Result<bool> {
        let (mut input, mut digester) = (input.take(wanted.size + 1), Digester::new());
        loop {
            cx.check(self.operation)?;
            match input.read(buffer) {
                Ok(0) => return Ok(digester.finish() == wanted.digest),
                Ok(count) => digester.update(&buffer[..count]),
                Err(_) => return Ok(false),
            }
        }
    }
}

struct Input<'a> {
    cx: &'a Context,
    operation: &'static str,
    path: &'a Path,
    digester: Digester,
}

impl Input<'_> {
    fn pour(&mut self, output: &mut impl Write, buffer: &mut [u8], part: &Path) -> Result<()> {
        let mut file = File::open(self.path).map_err(|error| Error::io(self.operation, self.path, error))?;
        loop {
            self.cx.check(self.operation)?;
            let count = file.read(buffer).map_err(|error| Error::io(self.operation, self.path, error))?;
            if count == 0 {
                return Ok(());
            }
            self.digester.update(&buffer[..count]);
            output.write_all(&buffer[..count]).map_err(|error| Error::io(self.operation, part, error))?;
        }
    }
}
