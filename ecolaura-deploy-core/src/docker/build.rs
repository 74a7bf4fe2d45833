//! A build from its inputs to an image in the layout.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use http_body_util::BodyExt as _;
use hyper::Method;

use super::{
    DockerBuilder,
    engine::Engine,
    export::export,
    failure::{explain, refused},
    inputs::Inputs,
    progress::{Told, clean},
    session::{BUILD_FILE, Offer, Session},
};
use crate::{
    Context, Error, ErrorKind, Result,
    backend::ImageSpec,
    files::blocking,
    image::{Descriptor, INDEX, Index, Layout, Sweep},
    local::image::{BUILT_BY, Bill, Imported, list, store_with_bill},
    nonce::{NonceSource as _, RandomNonces},
    vocabulary::{BuiltImage, Digest, Platform},
};

const OPERATION: &str = "image.build";
/// What images are called in the engine until they are taken out of it.
const NAME: &str = "ecolaura-deploy-build";

/// What a build and its image are called in the engine. Always of the same length.
pub(super) fn names() -> (String, String) {
    let id = format!("{:016x}{:016x}", RandomNonces.next(), RandomNonces.next());
    let name = format!("{NAME}:{id}");
    (id, name)
}

/// Builds the folder of `spec` as `builder` is set up.
pub(super) async fn build(cx: &Context, builder: &DockerBuilder, spec: &ImageSpec) -> Result<BuiltImage> {
    for (id, secret) in &builder.secrets {
        if !cx.redactor().register(secret) {
            cx.warn(format!("the secret `{id}` is too short to be taken out of what steps say"));
        }
    }
    let work = Work {
        cx,
        builder,
        spec,
        inputs: Inputs::of(cx, OPERATION, builder, spec).await?,
        engine: builder.engine(OPERATION)?,
    };
    work.engine.check(cx, OPERATION).await?;
    let layout = &builder.layout;
    let _writing = layout.writing(cx, OPERATION, Sweep::Unreferenced).await?;
    let mut made = Vec::new();
    for platform in builder.wanted(spec) {
        made.push(work.image(&platform).await?);
    }
    let whole = work.whole(made).await?;
    cx.check(OPERATION)?;
    let (entry, digest) = (whole.entry.annotated(BUILT_BY, builder.name.to_string()), whole.digest);
    let (attached, keep) = (whole.attached, builder.keep.get());
    let record = move |index: &mut Index| {
        list(index, entry, attached, keep);
        Ok(())
    };
    layout.update(cx, OPERATION, record).await?;
    let dir = std::path::absolute(layout.dir()).map_err(|error| Error::io(OPERATION, layout.dir(), error))?;
    Ok(BuiltImage::new(dir, digest, whole.platform, whole.size))
}

/// What is in the layout and not yet in its index.
struct Whole {
    entry: Descriptor,
    attached: Option<Descriptor>,
    digest: Digest,
    platform: Platform,
    size: u64,
}

/// The one image, or an index of all, with its bill of materials. Blocks.
fn whole(layout: &Layout, mut made: Vec<Imported>, bill: Option<&[u8]>) -> Result<Whole> {
    let Some(first) = made.first() else { return Err(Error::internal(OPERATION, "nothing was built")) };
    let platform = first.platform.clone();
    if made.len() == 1
        && let Some(one) = made.pop()
    {
        let manifest = layout.manifest(OPERATION, one.image.digest)?;
        let size = manifest.size();
        let (image, attached) = store_with_bill(OPERATION, layout, (&one.image.media_type, manifest), bill)?;
        let (digest, size) = (image.digest, image.size + size);
        return Ok(Whole { entry: image.on(&platform), attached, digest, platform, size });
    }
    let size = made.iter().map(|one| one.size).sum::<u64>();
    let mut index = Index::default();
    index.manifests.extend(made.into_iter().map(|one| one.image.on(&one.platform)));
    let (entry, attached) = store_with_bill(OPERATION, layout, (INDEX, index), bill)?;
    Ok(Whole { digest: entry.digest, size: size + entry.size, entry, attached, platform })
}

struct Work<'a> {
    cx: &'a Context,
    builder: &'a DockerBuilder,
    spec: &'a ImageSpec,
    inputs: Inputs,
    engine: Engine,
}

impl Work<'_> {
    /// What was made, with a bill of what is in it and of what it was made from.
    async fn whole(&self, made: Vec<Imported>) -> Result<Whole> {
        let (cx, layout, locks) = (self.cx.clone(), self.builder.layout.clone(), self.inputs.locks.clone());
        let unit = move || {
            let mut bill = Bill::default();
            locks.iter().for_each(|(path, content)| bill.lock_file(&cx, path, content));
            made.iter().try_for_each(|one| bill.image((&cx, OPERATION), &layout, one.image.digest))?;
            whole(&layout, made, bill.write(OPERATION)?.as_deref())
        };
        blocking(OPERATION, unit).await
    }

    /// Builds for `platform` and brings the image into the layout.
    async fn image(&self, platform: &Platform) -> Result<Imported> {
        let (id, name) = names();
        let made = Made { engine: self.engine.clone(), build: Some(id.clone()), name };
        let image = self.run(&id, &made.name, platform).await?;
        let exported =
            export((self.cx, OPERATION), &self.engine, (&made.name, image), platform, &self.builder.layout).await;
        made.forget(self.cx).await;
        exported
    }

    /// Lets the engine build, and answers with the image's id.
    async fn run(&self, id: &str, name: &str, platform: &Platform) -> Result<Digest> {
        let offer = Arc::new(Offer {
            cx: self.cx.clone(),
            operation: OPERATION,
            file: self.inputs.file.clone(),
            entries: Arc::clone(&self.inputs.entries),
            secrets: self.builder.secrets.clone(),
            logins: self.builder.logins.clone(),
            told: Mutex::default(),
            fault: Mutex::default(),
        });
        let key = self.inputs.digest().to_hex();
        let opening = Session::open(&self.engine, id, &key, &offer);
        let _session = self.engine.soon(self.cx, OPERATION, opening).await?;
        let target = target(self.builder, self.spec, (id, name), platform);
        let mut told = Told::default();
        let ended = self.cx.bounded(OPERATION, self.listen(&target, &mut told)).await?;
        if let Some(fault) = offer.fault() {
            return Err(fault);
        }
        match (ended, &told.error, told.image) {
            (Err(error), None, _) => Err(self.clean(error)),
            (_, Some(said), _) => {
                let (said, broken) = (clean(self.cx, said), told.broken(self.cx));
                let file = String::from_utf8_lossy(&self.inputs.file);
                let refused = refused(OPERATION, &self.builder.file, &said, (broken.as_ref(), &offer.told()));
                Err(refused.unwrap_or_else(|| explain(OPERATION, (&self.builder.file, &file), &said, broken)))
            }
            (Ok(()), None, Some(image)) => Ok(image),
            (Ok(()), None, None) => Err(Error::new(
                ErrorKind::Unavailable,
                OPERATION,
                "the engine ended the build without a word on the image",
            )),
        }
    }

    async fn listen(&self, target: &str, told: &mut Told) -> Result<()> {
        let mut answer = self.engine.ask(OPERATION, Method::POST, target).await?;
        while let Some(frame) = answer.response.body_mut().frame().await {
            let frame = frame.map_err(|error| self.engine.broken(OPERATION, error))?;
            if let Ok(piece) = frame.into_data() {
                told.take(self.cx, OPERATION, &piece)?;
            }
        }
        Ok(())
    }

    /// What an engine refuses may repeat an argument, and so anything.
    fn clean(&self, error: Error) -> Error {
        error.map_texts(|text| *text = self.cx.redactor().redact(text).into_owned())
    }
}

/// A build in the engine, and the name of what it makes: both go away with it.
struct Made {
    engine: Engine,
    build: Option<String>,
    name: String,
}

impl Made {
    /// Takes the name away, and with it the image if it has no other.
    async fn forget(mut self, cx: &Context) {
        match self.engine.soon(cx, OPERATION, remove(&self.engine, &self.name)).await {
            Ok(()) => self.build = None,
            // There is no time left for it, so that it is done by the way.
            Err(error) if matches!(error.kind(), ErrorKind::Cancelled | ErrorKind::Timeout) => {}
            Err(error) => {
                self.build = None;
                cx.warn(format!("the image `{}` stays in the engine: {}", self.name, error.report()));
            }
        }
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        let (Some(id), Ok(runtime)) = (self.build.take(), tokio::runtime::Handle::try_current()) else { return };
        let (engine, name) = (self.engine.clone(), self.name.clone());
        runtime.spawn(async move {
            // Nobody is left to tell.
            _ = engine.ask(OPERATION, Method::POST, &format!("/build/cancel?id={id}")).await;
            _ = remove(&engine, &name).await;
        });
    }
}

/// The address of a build of `spec` for `platform`, which the engine is to call `id` and its image `name`.
pub(super) fn target(
    builder: &DockerBuilder,
    spec: &ImageSpec,
    (id, name): (&str, &str),
    platform: &Platform,
) -> String {
    let json = |value: serde_json::Result<String>| value.unwrap_or_default();
    let mut args = BTreeMap::from([("SOURCE_DATE_EPOCH", "0")]);
    if builder.cache_inline {
        args.insert("BUILDKIT_INLINE_CACHE", "1");
    }
    args.extend(builder.args.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    let platform = platform.to_string();
    let (args, labels) = (json(serde_json::to_string(&args)), json(serde_json::to_string(&spec.labels)));
    let cache = json(serde_json::to_string(&builder.cache_from));
    let mut query = vec![
        ("version", "2"),
        ("remote", "client-session"),
        ("session", id),
        ("buildid", id),
        ("dockerfile", BUILD_FILE),
        ("t", name),
        ("rm", "1"),
        ("platform", &platform),
        ("buildargs", &args),
        ("labels", &labels),
        ("cachefrom", &cache),
    ];
    query.extend(builder.target.as_deref().map(|target| ("target", target)));
    query.extend(builder.network.as_deref().map(|network| ("networkmode", network)));
    form_urlencoded::Serializer::for_suffix("/build?".to_owned(), "/build?".len()).extend_pairs(query).finish()
}

async fn remove(engine: &Engine, name: &str) -> Result<()> {
    engine.ask(OPERATION, Method::DELETE, &format!("/images/{name}")).await.map(drop)
}

#[cfg(test)]
mod tests;
