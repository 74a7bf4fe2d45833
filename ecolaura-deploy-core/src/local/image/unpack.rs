//! From an image in a registry to a folder of files.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use tokio_util::io::SyncIoBridge;

use self::root::Root;
use crate::{
    Context, Error, ErrorKind, Result,
    backend::Registry,
    local::{
        files::{self, Hold, blocking, partial_name, read_if_there, replace},
        oci::{self, Configuration, Descriptor, Manifest, environment},
    },
    vocabulary::{Digest, PinnedImage},
};

mod layer;
mod root;
#[cfg(test)]
mod tests;

const OPERATION: &str = "image.unpack";
/// The file at the top of an unpacked image that says which it is.
const MARKER: &str = ".ecolaura-image.json";

/// How the processes of an image are started.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ImageConfig {
    /// The program and its fixed arguments.
    pub entrypoint: Vec<String>,
    /// Arguments that a deployment may replace.
    pub command: Vec<String>,
    /// Environment variables.
    pub env: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// The user, `65532:65532` or a name of the image's.
    pub user: Option<String>,
    /// The ports it listens on, `8080/tcp`.
    pub ports: Vec<String>,
    /// The folder the program starts in.
    pub working_dir: Option<String>,
}

impl From<Configuration> for ImageConfig {
    fn from(config: Configuration) -> Self {
        let process = config.config.unwrap_or_default();
        let text = |text: Option<String>| text.filter(|text| !text.is_empty());
        Self {
            env: environment(&process),
            entrypoint: process.entrypoint.unwrap_or_default(),
            command: process.cmd.unwrap_or_default(),
            labels: process.labels.unwrap_or_default(),
            user: text(process.user),
            ports: process.exposed_ports.unwrap_or_default().into_keys().collect(),
            working_dir: text(process.working_dir),
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Marker {
    digest: Digest,
    config: ImageConfig,
}

/// Unpacks the layers of `image` in order into `dir`, which is made, and answers with the image's configuration.
///
/// `dir` appears whole or not at all. If it is there already and holds this image, nothing is read or done; if it
/// holds something else, it is an `AlreadyExists`. The files belong to this process's user, without set-user-id and
/// set-group-id bits; devices are left out. No entry reaches outside `dir`: absolute links count from its top, a path
/// or a link that climbs above it is refused. A link in it can still lead a process that is not confined to `dir`
/// out of it. The file `.ecolaura-image.json` at its top says which image it is.
///
/// Safe under concurrent processes of one machine. A cancel leaves at most a hidden folder beside `dir`, which the
/// next call removes. Fails with `NotFound`, `Corrupt` (a blob or an entry is not what it should be), `Unsupported`
/// (an index, a compression that is not read), `LimitExceeded`, `PermissionDenied`.
pub async fn unpack(cx: &Context, registry: &dyn Registry, image: &PinnedImage, dir: &Path) -> Result<ImageConfig> {
    cx.check(OPERATION)?;
    let place = Place::of(dir)?;
    if let Some(config) = place.holds(image).await? {
        return Ok(config);
    }
    let _lock = files::lock(cx, OPERATION, place.beside("lock"), Hold::Alone).await?;
    if let Some(config) = place.holds(image).await? {
        return Ok(config);
    }
    let manifest = oci::read_manifest(cx, OPERATION, registry, image).await?;
    if let Some(reason) = manifest.unsupported() {
        return Err(Error::new(ErrorKind::Unsupported, OPERATION, reason).with("image", image));
    }
    let config = oci::read_config(cx, OPERATION, registry, image, &manifest).await?;
    let layers = pair(image, &manifest, &config)?;
    let here = place.clone();
    let mut root = blocking(OPERATION, move || here.start()).await?;
    for (number, (layer, diff_id)) in layers.iter().enumerate() {
        cx.progress("layers", number as u64, Some(layers.len() as u64));
        root = add(cx, registry, image, root, layer, *diff_id).await?;
    }
    let marker = Marker { digest: image.digest, config: config.into() };
    blocking(OPERATION, move || place.finish(root, marker)).await
}

/// The layers with the digests that they have unpacked.
fn pair(image: &PinnedImage, manifest: &Manifest, config: &Configuration) -> Result<Vec<(Descriptor, Digest)>> {
    let (layers, diff_ids) = (&manifest.layers, &config.rootfs.diff_ids);
    if layers.len() == diff_ids.len() {
        return Ok(layers.iter().cloned().zip(diff_ids.iter().copied()).collect());
    }
    let message = format!("the image has {} layers, and {} in its configuration", layers.len(), diff_ids.len());
    Err(Error::new(ErrorKind::Corrupt, OPERATION, message).with("image", image))
}

async fn add(
    cx: &Context,
    registry: &dyn Registry,
    image: &PinnedImage,
    mut root: Root,
    layer: &Descriptor,
    diff_id: Digest,
) -> Result<Root> {
    let blob = registry.blob(cx, &image.repository, &layer.digest).await?;
    let (context, layer) = (cx.clone(), layer.clone());
    let unit = move || {
        layer::apply(&context, &mut root, SyncIoBridge::new(blob), &layer, diff_id)?;
        Ok(root)
    };
    blocking(OPERATION, unit).await.map_err(|error| error.with("image", image))
}

/// Where an image goes.
#[derive(Debug, Clone)]
struct Place {
    dir: PathBuf,
    parent: PathBuf,
    name: String,
}

impl Place {
    fn of(dir: &Path) -> Result<Self> {
        let dir = std::path::absolute(dir).map_err(|error| Error::io(OPERATION, dir, error))?;
        match (dir.parent(), dir.file_name().and_then(|name| name.to_str())) {
            (Some(parent), Some(name)) => {
                Ok(Self { parent: parent.to_owned(), name: name.to_owned(), dir: dir.clone() })
            }
            _ => Err(Error::invalid(OPERATION, format!("`{}` cannot become an image's folder", dir.display()))),
        }
    }

    fn beside(&self, ending: &str) -> PathBuf {
        self.parent.join(format!(".{}.{ending}", self.name))
    }

    /// The configuration of `image` if it is what is here.
    async fn holds(&self, image: &PinnedImage) -> Result<Option<ImageConfig>> {
        let (dir, image) = (self.dir.clone(), image.clone());
        blocking(OPERATION, move || present(&dir, &image)).await
    }

    /// An empty folder to unpack into, beside the place; what killed calls left there is removed.
    fn start(&self) -> Result<Root> {
        let prefix = format!("{}.", self.name);
        for entry in fs::read_dir(&self.parent).into_iter().flatten().flatten() {
            if entry.file_name().to_str().is_some_and(|name| is_partial(name, &prefix)) {
                fs::remove_dir_all(entry.path()).map_err(|error| Error::io(OPERATION, entry.path(), error))?;
            }
        }
        Root::create(self.parent.join(partial_name(&prefix)))
    }

    fn finish(&self, root: Root, marker: Marker) -> Result<ImageConfig> {
        let path = root.clear_way(MARKER)?;
        replace(OPERATION, &path, &oci::write(OPERATION, &marker)?)?;
        root.rename(&self.dir)?;
        Ok(marker.config)
    }
}

/// Whether `name` is one that [`partial_name`] made of `prefix`.
fn is_partial(name: &str, prefix: &str) -> bool {
    let inside = name.strip_prefix('.').and_then(|name| name.strip_prefix(prefix)?.strip_suffix(".partial"));
    let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    inside.and_then(|inside| inside.split_once('-')).is_some_and(|(process, count)| number(process) && number(count))
}

fn present(dir: &Path, image: &PinnedImage) -> Result<Option<ImageConfig>> {
    let other = |what: String| {
        let message = format!("`{}` {what}, expected nothing or {}", dir.display(), image.digest);
        Error::new(ErrorKind::AlreadyExists, OPERATION, message).advice("name another folder, or remove this one")
    };
    let mut entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => return Err(other("is a file".to_owned())),
        Err(error) => return Err(Error::io(OPERATION, dir, error)),
    };
    if entries.next().is_none() {
        return Ok(None);
    }
    let path = dir.join(MARKER);
    let Some(bytes) = read_if_there(OPERATION, &path)? else { return Err(other("holds other files".to_owned())) };
    let marker: Marker = oci::parse(OPERATION, &format!("`{}`", path.display()), &bytes)?;
    if marker.digest == image.digest {
        return Ok(Some(marker.config));
    }
    Err(other(format!("holds the image {}", marker.digest)))
}
