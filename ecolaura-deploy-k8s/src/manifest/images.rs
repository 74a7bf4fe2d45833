//! Every container gets its image by digest.

use std::collections::BTreeSet;

use ecolaura_deploy_core::{
    backend::Workload,
    manifest::{Field, Notes, suggestion},
    vocabulary::{ImageReference, PinnedImage},
};
use serde_json::{Value, json};

use super::{
    Surroundings, Wanted,
    pods::{containers, pointer},
};
use crate::object::Key;

/// Replaces the images of `json`, which `field` is, by those of the workload. An image that is neither there nor pinned
/// already is a problem: nothing runs by tag.
pub(super) fn pin(field: &Field<'_>, json: &mut Value, workload: &Workload, surroundings: &Surroundings) {
    for path in surroundings.templates.of(&Key::of(json)) {
        let spec = if path.is_empty() { "spec".to_owned() } else { format!("{path}.spec") };
        if let Some(spec) = field.get(&spec) {
            for list in ["initContainers", "containers"] {
                spec.list(list).iter().for_each(|container| check(container, workload));
            }
        }
        let Some(spec) = json.pointer_mut(&pointer(&spec)) else { continue };
        for container in containers(spec) {
            let Some(image) = container.get("image").and_then(Value::as_str) else { continue };
            if let Some(pinned) = pinned(image, workload) {
                container["image"] = json!(address(&pinned, surroundings.registry.as_deref()));
            }
        }
    }
}

fn check(container: &Field<'_>, workload: &Workload) {
    let Some(image) = container.get("image") else {
        container.missing("image", "the repository of an image");
        return;
    };
    let Some(text) = image.text() else { return image.expected("a text") };
    match text.parse::<ImageReference>() {
        Err(error) => image.problem(format!("is no image: {error}")),
        Ok(_) if pinned(text, workload).is_some() => {}
        Ok(reference) => {
            let near = suggestion(reference.repository.as_str(), workload.images.keys().map(String::as_str));
            image.problem(format!(
                "is `{text}`, expected the repository of an image of this workload, or one by digest{near}"
            ));
        }
    }
}

/// The image that stands for `text`.
fn pinned(text: &str, workload: &Workload) -> Option<PinnedImage> {
    let reference: ImageReference = text.parse().ok()?;
    let given = workload.images.get(reference.repository.as_str()).cloned();
    given.or_else(|| Some(PinnedImage::new(reference.repository, reference.digest?)))
}

/// The image as a kubelet is told of it.
pub(crate) fn address(image: &PinnedImage, registry: Option<&str>) -> String {
    let first = image.repository.as_str().split_once('/').map_or("", |(first, _)| first);
    let has_host = first.contains(['.', ':']) || first == "localhost";
    match registry {
        Some(registry) if !has_host => format!("{registry}/{image}"),
        _ => image.to_string(),
    }
}

/// Warns of images that no container names.
pub(super) fn unused(objects: &[Wanted], workload: &Workload, surroundings: &Surroundings, notes: &Notes) {
    let addresses: BTreeSet<String> = objects
        .iter()
        .flat_map(|object| {
            let paths = surroundings.templates.of(&object.key).into_iter().map(pointer).collect::<Vec<_>>();
            paths.into_iter().filter_map(|path| object.json.pointer(&format!("{path}/spec")))
        })
        .flat_map(|spec| {
            let lists = ["initContainers", "containers"].into_iter().filter_map(|list| spec.get(list)?.as_array());
            lists.flatten().filter_map(|container| container.get("image")?.as_str().map(str::to_owned))
        })
        .collect();
    for (repository, image) in &workload.images {
        if !addresses.contains(&address(image, surroundings.registry.as_deref())) {
            notes.warning(format!("the image `{repository}` is given and no container names it"));
        }
    }
}
