//! What survives the process that serves: services, their revisions, their addresses.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::addresses::ServiceAddress;
use crate::{
    Context, Error, ErrorKind, Result,
    backend::ClusterSnapshot,
    cluster::desired::{Current, CurrentService, DesiredService},
    fence::Epochs,
    local::{
        files::{Hold, lock, open_lock, read_if_there, remove, replace},
        image::ImageConfig,
    },
    vocabulary::{Digest, Name, ServiceName},
};

/// The version of the file's form.
const FORM: u32 = 1;

/// The bytes of a salt.
const SALT: usize = 32;

/// How many editions of a service are kept, the running ones not counted.
const KEPT: usize = 10;

/// Everything, for all namespaces.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    form: u32,
    pub(super) namespaces: BTreeMap<Name, Namespace>,
}

impl Default for State {
    fn default() -> Self {
        Self { form: FORM, namespaces: BTreeMap::new() }
    }
}

/// A namespace.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Namespace {
    /// Its pods should run; not so after the cluster was stopped, until something is applied again.
    pub(super) awake: bool,
    pub(super) services: BTreeMap<ServiceName, Service>,
    /// By the Kubernetes Service.
    pub(super) addresses: BTreeMap<ServiceName, ServiceAddress>,
    /// Of those who changed it.
    #[serde(default, skip_serializing_if = "Epochs::is_empty")]
    pub(super) epochs: Epochs,
}

/// What was applied as one service (Deployment), in all its editions.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Service {
    next: u64,
    last_revision: u64,
    editions: Vec<Edition>,
    stable: Option<u64>,
    candidate: Option<Candidate>,
}

/// One text of a service. A new one that needs new pods is a new revision, as in Kubernetes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Edition {
    pub(super) id: u64,
    pub(super) revision: u64,
    pub(super) spec: DesiredService,
    pub(super) image: ImageConfig,
}

/// What stands beside the stable pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Candidate {
    pub(super) edition: u64,
    pub(super) replicas: u32,
    pub(super) percent: u8,
    /// It grows to the manifest's size, to take over.
    pub(super) promoting: bool,
}

impl Service {
    pub(super) fn edition(&self, id: u64) -> Option<&Edition> {
        self.editions.iter().find(|edition| edition.id == id)
    }

    /// The edition of the stable pods.
    pub(super) fn stable(&self) -> Option<&Edition> {
        self.edition(self.stable?)
    }

    /// The candidate and its edition; one that is being promoted has the manifest's size.
    pub(super) fn candidate(&self) -> Option<(Candidate, &Edition)> {
        let mut candidate = self.candidate?;
        let edition = self.edition(candidate.edition)?;
        if candidate.promoting {
            candidate.replicas = edition.spec.replicas;
        }
        Some((candidate, edition))
    }

    /// The text that names the Service's ports now.
    pub(super) fn spec(&self) -> Option<&DesiredService> {
        self.stable().or_else(|| self.candidate().map(|(_, edition)| edition)).map(|edition| &edition.spec)
    }

    fn add(&mut self, spec: DesiredService, image: ImageConfig) -> (u64, u64) {
        let template = spec.template_digest();
        let same = self.stable().filter(|stable| stable.spec.template_digest() == template);
        let revision = same.map_or(self.last_revision + 1, |stable| stable.revision);
        self.last_revision = self.last_revision.max(revision);
        self.next += 1;
        let id = self.next;
        self.editions.push(Edition { id, revision, spec, image });
        (id, revision)
    }

    /// Puts `spec` in the place of the stable one, without candidate; answers with its revision.
    pub(super) fn replace(&mut self, spec: DesiredService, image: ImageConfig) -> u64 {
        self.candidate = None;
        let same = self.stable().filter(|stable| stable.spec.digest() == spec.digest());
        let revision = match same {
            Some(stable) => stable.revision,
            None => {
                let (id, revision) = self.add(spec, image);
                self.stable = Some(id);
                revision
            }
        };
        self.prune();
        revision
    }

    /// Puts `spec` beside the stable one; answers with its revision.
    pub(super) fn stand_beside(&mut self, spec: DesiredService, image: ImageConfig, replicas: Option<u32>) -> u64 {
        let replicas = replicas.unwrap_or(spec.replicas);
        if let Some((candidate, edition)) = self.candidate()
            && edition.spec.digest() == spec.digest()
        {
            let revision = edition.revision;
            self.candidate = Some(Candidate { replicas, ..candidate });
            return revision;
        }
        let (edition, revision) = self.add(spec, image);
        self.candidate = Some(Candidate { edition, replicas, percent: 0, promoting: false });
        self.prune();
        revision
    }

    /// Changes the candidate of `revision`; no if there is no such candidate.
    pub(super) fn change_candidate(&mut self, revision: u64, change: impl FnOnce(&mut Candidate)) -> bool {
        let found = self.candidate().is_some_and(|(_, edition)| edition.revision == revision);
        if let (true, Some(candidate)) = (found, &mut self.candidate) {
            change(candidate);
        }
        found
    }

    /// The candidate takes the stable one's place.
    pub(super) fn promote(&mut self) {
        if let Some(candidate) = self.candidate.take() {
            self.stable = Some(candidate.edition);
        }
        self.prune();
    }

    pub(super) fn discard(&mut self) {
        self.candidate = None;
    }

    /// Whether `edition` of `revision` is kept, or another text of that revision.
    pub(super) fn find(&self, revision: u64, edition: Option<u64>) -> Option<u64> {
        let of_revision = |id: &&Edition| id.revision == revision;
        let exact = self.editions.iter().filter(of_revision).find(|found| Some(found.id) == edition);
        exact.or_else(|| self.editions.iter().rev().find(of_revision)).map(|edition| edition.id)
    }

    /// Goes back to an edition that is kept, without candidate.
    pub(super) fn go_back(&mut self, edition: u64) {
        self.candidate = None;
        self.stable = Some(edition);
    }

    fn prune(&mut self) {
        let used = [self.stable, self.candidate.map(|candidate| candidate.edition)];
        let idle = |edition: &Edition| !used.contains(&Some(edition.id));
        let mut extra = self.editions.iter().filter(|edition| idle(edition)).count().saturating_sub(KEPT);
        self.editions.retain(|edition| {
            let drop = extra > 0 && idle(edition);
            extra -= usize::from(drop);
            !drop
        });
    }

    /// The images that its editions need.
    pub(super) fn images(&self) -> impl Iterator<Item = Digest> + '_ {
        self.editions.iter().map(|edition| edition.spec.template.image.digest)
    }
}

impl Namespace {
    /// What [`crate::backend::ClusterTarget::restore`] goes back to.
    pub(super) fn snapshot(&self, namespace: &Name) -> ClusterSnapshot {
        let stable = |(name, service): (&ServiceName, &Service)| {
            service.stable().map(|edition| (name.clone(), (edition.revision, edition.id)))
        };
        let found: BTreeMap<ServiceName, (u64, u64)> = self.services.iter().filter_map(stable).collect();
        let editions: serde_json::Map<String, serde_json::Value> =
            found.iter().map(|(name, (_, edition))| (name.to_string(), (*edition).into())).collect();
        let revisions = found.into_iter().map(|(name, (revision, _))| (name, Some(revision))).collect();
        ClusterSnapshot::new(namespace.clone(), revisions, editions.into())
    }

    /// What a plan is compared with.
    pub(super) fn current(&self) -> Current {
        let service = |service: &Service| {
            let stable = service.stable()?;
            let candidate = service.candidate().map(|(_, edition)| (edition.revision, edition.spec.clone()));
            Some(CurrentService { revision: stable.revision, service: stable.spec.clone(), candidate })
        };
        Current { services: self.services.values().filter_map(service).collect() }
    }

    /// Where each Service answers.
    pub(super) fn urls(&self) -> BTreeMap<ServiceName, String> {
        let endpoints = self.services.values().filter_map(Service::spec).flat_map(|spec| &spec.endpoints);
        let url = |name: &ServiceName, first: u16| self.addresses.get(name).map(|address| address.url(first));
        endpoints
            .filter_map(|endpoint| Some((endpoint.name.clone(), url(&endpoint.name, endpoint.ports.first()?.port)?)))
            .collect()
    }

    /// What Kubernetes tells every container of the Services around it: `BACKEND_SERVICE_HOST`, `_PORT`.
    pub(super) fn links(&self) -> Vec<(String, String)> {
        let endpoints = self.services.values().filter_map(Service::spec).flat_map(|spec| &spec.endpoints);
        let mut links = Vec::new();
        for endpoint in endpoints {
            let Some((address, first)) = self.addresses.get(&endpoint.name).zip(endpoint.ports.first()) else {
                continue;
            };
            let name = endpoint.name.to_string().to_uppercase().replace('-', "_");
            let port = address.ports.get(&first.port).unwrap_or(&first.port);
            links.push((format!("{name}_SERVICE_HOST"), address.ip.to_string()));
            links.push((format!("{name}_SERVICE_PORT"), port.to_string()));
        }
        links
    }
}

/// The folder of a cluster: private to its user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Folder(PathBuf);

impl Folder {
    /// Makes it, for this user only, and knows it by its absolute path.
    pub(super) fn create(dir: &Path) -> Result<Self> {
        const OPERATION: &str = "cluster.open";
        let failed = |error| Error::io(OPERATION, dir, error);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed)?;
        let dir = dir.canonicalize().map_err(failed)?;
        let private = <fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o700);
        fs::set_permissions(&dir, private).map_err(|error| {
            Error::io(OPERATION, &dir, error).advice("name a folder of its own for the cluster, owned by this user")
        })?;
        Ok(Self(dir))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Where an image is unpacked.
    pub(super) fn image(&self, digest: Digest) -> PathBuf {
        self.0.join("images").join(digest.to_hex())
    }

    /// The state; empty if there is none. Fails with `Corrupt`.
    pub(super) fn read(&self) -> Result<State> {
        const OPERATION: &str = "cluster.read";
        let path = self.file("state.json");
        let Some(bytes) = read_if_there(OPERATION, &path)? else { return Ok(State::default()) };
        let corrupt = |message: String| {
            Error::new(ErrorKind::Corrupt, OPERATION, message)
                .with("file", path.display())
                .advice("stop the cluster and remove its folder; what it runs is made again by the next roll-out")
        };
        let state: State = serde_json::from_slice(&bytes)
            .map_err(|error| corrupt("the cluster's state cannot be read".to_owned()).with_source(error))?;
        if state.form == FORM {
            Ok(state)
        } else {
            Err(corrupt(format!("the cluster's state has the form {}, expected {FORM}", state.form)))
        }
    }

    /// Replaces the state so that a reader, or a power failure, sees the former one or this one. It holds the values
    /// of secrets, as the manifests do, and is for this user only.
    pub(super) fn write(&self, state: &State) -> Result<()> {
        const OPERATION: &str = "cluster.write";
        let bytes = serde_json::to_vec(state)
            .map_err(|error| Error::internal(OPERATION, "the state could not be written as JSON").with_source(error))?;
        replace(OPERATION, &self.file("state.json"), &bytes)
    }

    /// What makes the marks of this cluster's secrets its own.
    pub(super) fn salt(&self) -> Result<Vec<u8>> {
        const OPERATION: &str = "cluster.salt";
        let path = self.file("salt");
        match read_if_there(OPERATION, &path)? {
            Some(salt) if salt.len() == SALT => return Ok(salt),
            Some(_) => remove(OPERATION, &path)?,
            None => {}
        }
        let mut salt = vec![0; SALT];
        let read = File::open("/dev/urandom").and_then(|mut file| io::Read::read_exact(&mut file, &mut salt));
        read.map_err(|error| Error::io(OPERATION, "/dev/urandom", error))?;
        // Of two that make one at the same time, one wins for both.
        let partial = self.file(&format!("salt.{}.partial", std::process::id()));
        let link = || {
            OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&partial)?.write_all(&salt)?;
            let linked = fs::hard_link(&partial, &path);
            fs::remove_file(&partial)?;
            match linked {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
                _ => fs::read(&path),
            }
        };
        link().map_err(|error| Error::io(OPERATION, &path, error))
    }

    /// Takes the right to use images that nothing refers to yet, waiting for a sweep. It ends with the file.
    pub(super) async fn keep_images(&self, cx: &Context) -> Result<File> {
        lock(cx, "cluster.apply", self.file("images.lock"), Hold::Shared).await
    }

    /// Removes unpacked images other than those `wanted`, unless somebody is about to use one.
    pub(super) fn sweep_images(&self, wanted: &BTreeSet<String>) -> Result<()> {
        const OPERATION: &str = "cluster.sweep";
        let lock = open_lock(OPERATION, &self.file("images.lock"))?;
        if lock.try_lock().is_err() {
            return Ok(());
        }
        for entry in fs::read_dir(self.file("images")).into_iter().flatten().flatten() {
            let image = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if image && !entry.file_name().to_str().is_some_and(|name| wanted.contains(name)) {
                fs::remove_dir_all(entry.path()).map_err(|error| Error::io(OPERATION, entry.path(), error))?;
            }
        }
        Ok(())
    }

    fn open_lock(&self) -> Result<File> {
        let path = self.file("lock");
        let opened = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&path);
        opened.map_err(|error| Error::io("cluster.lock", &path, error))
    }

    /// Takes the right to run processes here; `None` if another process has it. It ends with the file.
    pub(super) fn lock(&self, holder: Holder) -> Result<Option<File>> {
        let mut file = self.open_lock()?;
        let failed = |error| Error::io("cluster.lock", self.file("lock"), error);
        match file.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Ok(None),
            Err(fs::TryLockError::Error(error)) => return Err(failed(error)),
        }
        file.set_len(0).and_then(|()| write!(file, "{holder}")).map_err(failed)?;
        Ok(Some(file))
    }

    /// Who runs processes here.
    pub(super) fn holder(&self) -> Result<Option<Holder>> {
        let mut file = self.open_lock()?;
        match file.try_lock_shared() {
            Err(fs::TryLockError::WouldBlock) => {}
            _ => return Ok(None),
        }
        let mut text = String::new();
        io::Read::read_to_string(&mut file, &mut text)
            .map_err(|error| Error::io("cluster.lock", self.file("lock"), error))?;
        Ok(Holder::parse(&text))
    }
}

/// The process that runs the pods of a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holder {
    /// An agent.
    Agent(u32),
    /// A program with a cluster of its own.
    Program(u32),
}

impl Holder {
    fn parse(text: &str) -> Option<Self> {
        let (kind, pid) = text.trim().split_once(' ')?;
        let pid = pid.parse().ok()?;
        match kind {
            "agent" => Some(Self::Agent(pid)),
            "program" => Some(Self::Program(pid)),
            _ => None,
        }
    }
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Agent(pid) => write!(f, "agent {pid}"),
            Self::Program(pid) => write!(f, "program {pid}"),
        }
    }
}

#[cfg(test)]
mod tests;
