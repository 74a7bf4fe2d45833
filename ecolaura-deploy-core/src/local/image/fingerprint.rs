//! What identifies the inputs of a build.

use std::{collections::BTreeMap, path::PathBuf};

use super::{
    inspect::Inspected,
    problems::Problems,
    walk::{Node, Nodes},
};
use crate::{
    Context, ErrorKind, Result,
    backend::ImageSpec,
    cdn::digesting,
    vocabulary::{Digest, Digester, Fingerprint},
};

/// How layers are made. Another number makes other images of the same files.
const RECIPE: &str = concat!("layout builder 1, ", env!("CARGO_PKG_VERSION"));
/// The most files that are named one by one; of more, folders are.
pub(crate) const NAMED: usize = 1000;

/// The fingerprint of `spec`, whose files were inspected: a part for each file by its path in the image, one for each
/// field.
pub(super) async fn fingerprint(
    cx: &Context,
    operation: &'static str,
    spec: &ImageSpec,
    inspected: Inspected,
    mut problems: Problems,
) -> Result<Fingerprint> {
    let digests = measure(cx, operation, &inspected.layers, &mut problems).await?;
    problems.refuse(operation)?;
    let mut parts = BTreeMap::new();
    for (index, nodes) in inspected.layers.iter().enumerate() {
        for (path, node) in nodes {
            parts.insert((index, path.as_str()), part(node, &digests));
        }
    }
    let mut fingerprint = fields(spec, &inspected);
    for (name, digest) in grouped(&parts, NAMED) {
        fingerprint = fingerprint.digest_part(name, digest);
    }
    Ok(fingerprint)
}

async fn measure(
    cx: &Context,
    operation: &'static str,
    layers: &[Nodes],
    problems: &mut Problems,
) -> Result<BTreeMap<PathBuf, Digest>> {
    let sources = layers.iter().flat_map(|nodes| nodes.values()).filter_map(|node| match node {
        Node::File { source, .. } => Some(source.clone()),
        _ => None,
    });
    let mut files: Vec<PathBuf> = sources.collect();
    files.sort_unstable();
    files.dedup();
    let mut digests = BTreeMap::new();
    for (file, measured) in files.iter().zip(digesting::measure(cx, operation, files.clone()).await?) {
        match measured {
            Ok((digest, _)) => _ = digests.insert(file.clone(), digest),
            Err(why) => problems.add(ErrorKind::PermissionDenied, why),
        }
    }
    Ok(digests)
}

fn part(node: &Node, files: &BTreeMap<PathBuf, Digest>) -> Digest {
    let mut digester = Digester::new();
    match node {
        Node::Folder => digester.field("folder"),
        Node::Link { target } => digester.field("link").field(target),
        Node::File { source, mode, .. } => {
            let content = files.get(source).map(|digest| digest.as_bytes().as_slice());
            digester.field("file").field(mode.to_le_bytes()).field(content.unwrap_or_default())
        }
    };
    digester.finish()
}

fn fields(spec: &ImageSpec, inspected: &Inspected) -> Fingerprint {
    let json = |value: serde_json::Result<String>| value.unwrap_or_default();
    let base = inspected.base.as_ref().map_or(String::new(), |base| base.digest.to_string());
    let mut fingerprint = Fingerprint::new()
        .part("builder", RECIPE)
        .part("platform", spec.platform.to_string())
        .part("base", base)
        .part("layers", spec.layers.len().to_string())
        .part("entrypoint", json(serde_json::to_string(&spec.entrypoint)))
        .part("command", json(serde_json::to_string(&spec.command)))
        .part("env", json(serde_json::to_string(&spec.env)))
        .part("labels", json(serde_json::to_string(&spec.labels)))
        .part("user", json(serde_json::to_string(&spec.user)))
        .part("ports", json(serde_json::to_string(&spec.ports)))
        .part("working_dir", json(serde_json::to_string(&spec.working_dir)));
    for (path, content) in &inspected.locks {
        fingerprint = fingerprint.part(format!("lock file {}", path.display()), content);
    }
    fingerprint
}

/// The parts under the names by which people are told of them: paths, or folders if there are more than `limit`.
pub(crate) fn grouped(parts: &BTreeMap<(usize, &str), Digest>, limit: usize) -> BTreeMap<String, Digest> {
    let deepest = parts.keys().map(|(_, path)| path.matches('/').count() + 1).max().unwrap_or(0);
    for depth in (1..=deepest).rev() {
        let named = at_depth(parts, depth);
        if named.len() <= limit || depth == 1 {
            return named;
        }
    }
    BTreeMap::new()
}

fn at_depth(parts: &BTreeMap<(usize, &str), Digest>, depth: usize) -> BTreeMap<String, Digest> {
    let mut groups: BTreeMap<String, Digester> = BTreeMap::new();
    for ((layer, path), digest) in parts {
        let end = path.match_indices('/').nth(depth - 1).map_or(path.len(), |(end, _)| end);
        let above = if *layer == 0 { String::new() } else { format!(" in layer {}", layer + 1) };
        let group = groups.entry(format!("/{}{above}", &path[..end])).or_default();
        group.field(path).field(digest.as_bytes());
    }
    groups.into_iter().map(|(name, digester)| (name, digester.finish())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_files_the_folders_are_named() {
        let digest = Digest::of("x");
        let paths = ["a", "a/b", "a/b/1", "a/b/2", "a/c", "a/c/3"];
        let parts: BTreeMap<_, _> =
            paths.iter().map(|path| ((0, *path), digest)).chain([((1, "a/b"), digest)]).collect();
        let names = |limit| grouped(&parts, limit).into_keys().collect::<Vec<_>>();
        assert_eq!(names(7).len(), 7);
        assert_eq!(
            names(6),
            ["/a", "/a in layer 2", "/a/b", "/a/b in layer 2", "/a/c"]
                .iter()
                .filter(|name| **name != "/a in layer 2")
                .copied()
                .collect::<Vec<_>>()
        );
        assert_eq!(names(1), ["/a", "/a in layer 2"]);
    }
}
