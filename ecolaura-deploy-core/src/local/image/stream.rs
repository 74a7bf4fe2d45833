//! A layer as a stream of tar, made while it is read. Nothing in it depends on when or where it is made.

use std::{
    fs::File,
    io::{self, Read},
    path::PathBuf,
    time::SystemTime,
};

use super::walk::{Node, Nodes, changed};
use crate::{Error, Result};

/// What the blocks of a tar are padded to, in bytes.
const RECORD: u64 = 512;

/// The tar of some nodes, in the order of their paths.
pub(super) struct TarStream {
    operation: &'static str,
    nodes: std::collections::btree_map::IntoIter<String, Node>,
    /// A header, padding or the end, and how much of it was taken.
    pending: Vec<u8>,
    taken: usize,
    /// The file whose content comes after what is pending.
    file: Option<Content>,
    ended: bool,
}

struct Content {
    source: PathBuf,
    file: File,
    size: u64,
    left: u64,
    modified: Option<SystemTime>,
}

impl TarStream {
    pub(super) fn new(operation: &'static str, nodes: Nodes) -> Self {
        Self { operation, nodes: nodes.into_iter(), pending: Vec::new(), taken: 0, file: None, ended: false }
    }

    /// Fills `block` up to `length` bytes; fewer only at the end. Blocks.
    pub(super) fn fill(&mut self, block: &mut Vec<u8>, length: usize) -> Result<()> {
        while block.len() < length {
            let space = length - block.len();
            if self.taken < self.pending.len() {
                let part = &self.pending[self.taken..];
                let part = &part[..part.len().min(space)];
                block.extend_from_slice(part);
                self.taken += part.len();
            } else if let Some(content) = &mut self.file {
                content.read(self.operation, block, space)?;
                if content.left == 0 {
                    let padding = content.size.next_multiple_of(RECORD) - content.size;
                    self.file = None;
                    self.put(vec![0; usize::try_from(padding).unwrap_or(0)]);
                }
            } else if !self.next()? {
                break;
            }
        }
        Ok(())
    }

    fn put(&mut self, bytes: Vec<u8>) {
        self.pending = bytes;
        self.taken = 0;
    }

    /// Goes on to the next node, or to the end; `false` after it.
    fn next(&mut self) -> Result<bool> {
        match self.nodes.next() {
            Some((path, node)) => {
                let unusual = |error: io::Error| {
                    Error::invalid(self.operation, format!("`/{path}` cannot be put into a layer: {error}"))
                };
                let header = header(&path, &node).map_err(unusual)?;
                self.put(header);
                if let Node::File { source, size, modified, .. } = node {
                    let file = File::open(&source).map_err(|error| Error::io(self.operation, &source, error))?;
                    self.file = Some(Content { source, file, size, left: size, modified });
                }
            }
            None if self.ended => return Ok(false),
            None => {
                self.ended = true;
                self.put(vec![0; 1024]);
            }
        }
        Ok(true)
    }
}

impl Content {
    /// Appends a piece of at most `space` bytes to `block`.
    fn read(&mut self, operation: &'static str, block: &mut Vec<u8>, space: usize) -> Result<()> {
        let failed = |error| Error::io(operation, &self.source, error);
        let (start, count) = (block.len(), usize::try_from(self.left).unwrap_or(usize::MAX).min(space));
        block.resize(start + count, 0);
        self.file.read_exact(&mut block[start..]).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => changed(operation, &self.source),
            _ => failed(error),
        })?;
        self.left -= count as u64;
        let found = self.file.metadata().map_err(failed)?;
        if self.left == 0 && (found.len(), found.modified().ok()) != (self.size, self.modified) {
            return Err(changed(operation, &self.source));
        }
        Ok(())
    }
}

/// The tar header of a node, with what comes before it if its path or target is long.
fn header(path: &str, node: &Node) -> io::Result<Vec<u8>> {
    let mut header = tar::Header::new_gnu();
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(0);
    let mut builder = tar::Builder::new(Vec::new());
    match node {
        Node::Folder => {
            header.set_entry_type(tar::EntryType::Directory);
            header.set_mode(0o755);
            builder.append_data(&mut header, format!("{path}/"), io::empty())?;
        }
        Node::File { mode, size, .. } => {
            header.set_entry_type(tar::EntryType::Regular);
            header.set_mode(*mode);
            header.set_size(*size);
            builder.append_data(&mut header, path, io::empty())?;
        }
        Node::Link { target } => {
            header.set_entry_type(tar::EntryType::Symlink);
            header.set_mode(0o777);
            if header.set_link_name_literal(target).is_ok() {
                builder.append_data(&mut header, path, io::empty())?;
            } else {
                builder.append_link(&mut header, path, target)?;
            }
        }
    }
    // What follows when the builder goes away, the end of an archive, is not part of it.
    Ok(std::mem::take(builder.get_mut()))
}
