//! From the nodes of a layer to a compressed blob: read, compressed and written at the same time, in bounded memory.

use std::{
    num::NonZeroUsize,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use flate2::Crc;
use futures_util::future;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    task::JoinHandle,
};

use super::{
    gzip::{self, BLOCK, Room},
    stream::TarStream,
    walk::{Node, Nodes},
};
use crate::{
    Context, Error, Result,
    local::{
        files::{Temporary, blocking},
        oci::{Descriptor, LAYER, Layout},
    },
    vocabulary::{Digest, Digester},
};

/// The most processors that are put to work.
const WORKERS: usize = 16;

/// What all layers of a build share: blocks under way, which bound the memory.
#[derive(Debug, Clone)]
pub(super) struct Packer {
    operation: &'static str,
    blocks: Arc<Semaphore>,
    capacity: usize,
    /// Those that no block is in.
    rooms: Arc<Mutex<Vec<Room>>>,
}

/// A layer that was stored.
#[derive(Debug, Clone)]
pub(super) struct Packed {
    pub(super) blob: Descriptor,
    /// The digest of the tar in it.
    pub(super) diff_id: Digest,
}

type Compressing = (OwnedSemaphorePermit, JoinHandle<Result<Room>>);

impl Packer {
    pub(super) fn new(operation: &'static str) -> Self {
        let workers = std::thread::available_parallelism().map_or(2, NonZeroUsize::get).min(WORKERS);
        let capacity = workers + 2;
        Self { operation, blocks: Arc::new(Semaphore::new(capacity)), capacity, rooms: Arc::default() }
    }

    fn rooms(&self) -> MutexGuard<'_, Vec<Room>> {
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stores the layer of `nodes` in `layout`. `report` gets the bytes that were read, as they are.
    ///
    /// No unit of work waits for another one: the order is kept by whoever awaits them. So it goes on whatever the
    /// number of threads, and layers may be packed at the same time.
    pub(super) async fn pack(
        &self,
        cx: &Context,
        layout: &Layout,
        nodes: Nodes,
        report: impl Fn(u64),
    ) -> Result<Packed> {
        let (sender, receiver) = mpsc::channel(self.capacity);
        let stream = TarStream::new(self.operation, nodes);
        let (diff_id, blob) =
            future::try_join(self.read(cx, stream, sender, report), self.write(layout, receiver)).await?;
        Ok(Packed { blob, diff_id })
    }

    async fn read(
        &self,
        cx: &Context,
        mut stream: TarStream,
        sender: mpsc::Sender<Compressing>,
        report: impl Fn(u64),
    ) -> Result<Digest> {
        let operation = self.operation;
        let mut digester = Digester::new();
        loop {
            cx.check(operation)?;
            let closed = || Error::internal(operation, "the writer of a layer ended early");
            let permit = Arc::clone(&self.blocks).acquire_owned().await.map_err(|_| closed())?;
            let mut room = self.rooms().pop().unwrap_or_else(Room::new);
            let unit = move || {
                room.input.clear();
                stream.fill(&mut room.input, BLOCK)?;
                digester.update(&room.input);
                Ok((stream, digester, room))
            };
            (stream, digester, room) = blocking(operation, unit).await?;
            if room.input.is_empty() {
                self.rooms().push(room);
                return Ok(digester.finish());
            }
            report(room.input.len() as u64);
            let unit = move || room.compress(operation).map(|()| room);
            let compressing = tokio::task::spawn_blocking(unit);
            sender.send((permit, compressing)).await.map_err(|_| closed())?;
        }
    }

    async fn write(&self, layout: &Layout, mut receiver: mpsc::Receiver<Compressing>) -> Result<Descriptor> {
        let (operation, target) = (self.operation, layout.clone());
        let mut writer = blocking(operation, move || Writer::new(operation, &target)).await?;
        while let Some((permit, compressing)) = receiver.recv().await {
            let died = |error| Error::internal(operation, "compressing panicked").with_source(error);
            let mut room = compressing.await.map_err(died)??;
            (writer, room) = blocking(operation, move || writer.add(room)).await?;
            self.rooms().push(room);
            drop(permit);
        }
        let target = layout.clone();
        blocking(operation, move || writer.finish(&target)).await
    }
}

/// A compressed layer that is being written.
pub(super) struct Writer {
    operation: &'static str,
    file: Temporary,
    digester: Digester,
    size: u64,
    crc: Crc,
    unpacked: u64,
}

impl Writer {
    pub(super) fn new(operation: &'static str, layout: &Layout) -> Result<Self> {
        let file = layout.temporary(operation)?;
        let mut writer = Self { operation, file, digester: Digester::new(), size: 0, crc: Crc::new(), unpacked: 0 };
        writer.put(&gzip::HEADER)?;
        Ok(writer)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.digester.update(bytes);
        self.size += bytes.len() as u64;
        self.file.write(self.operation, bytes)
    }

    pub(super) fn add(mut self, block: Room) -> Result<(Self, Room)> {
        self.put(&block.output)?;
        self.crc.combine(&block.crc);
        self.unpacked += block.input.len() as u64;
        Ok((self, block))
    }

    /// Gives the blob its name. One that is there under it was made from the same input and is replaced: so it is
    /// good afterwards.
    pub(super) fn finish(mut self, layout: &Layout) -> Result<Descriptor> {
        self.put(&gzip::trailer(&self.crc, self.unpacked))?;
        let blob = Descriptor::new(LAYER, self.digester.finish(), self.size);
        self.file.rename(self.operation, &layout.blob(blob.digest))?;
        Ok(blob)
    }
}

/// The bytes of all files.
pub(super) fn content_size(layers: &[Nodes]) -> u64 {
    let size = |node: &Node| if let Node::File { size, .. } = node { *size } else { 0 };
    layers.iter().flat_map(|nodes| nodes.values()).map(size).sum()
}
