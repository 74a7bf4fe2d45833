//! What manifests need where services run in containers: the folder of their environment, with its database and flags,
//! at the place where it is here; this program's user, whose files they are; and time for nodes to hear of their end.

use std::path::{Path, PathBuf};

use ecolaura_deploy_core::{
    Error, Result,
    manifest::{Notes, load},
    vocabulary::Digest,
};
use rustix::process::{getgid, getuid};
use serde_json::{Value, json};

/// How long a pod goes on after it was told to end, so that no request is sent to it any more.
const GOES_ON: u32 = 3;

/// Writes `manifest` with all of that into `folder`, and answers with where. The same content is the same file.
pub fn contained(manifest: &Path, folder: &Path) -> Result<PathBuf> {
    // Pipelines are also made to see their steps, before there is a release.
    if !manifest.exists() {
        return Ok(manifest.to_owned());
    }
    let notes = Notes::default();
    let objects = load(&[manifest.to_owned()], &notes)?;
    notes.finish()?;
    let items: Vec<Value> = objects.iter().map(|object| with_folder(object.node.to_json(), folder)).collect();
    let text = json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string();
    let name = manifest.file_stem().unwrap_or_default().to_string_lossy();
    let path = folder.join("manifests").join(Digest::of(&text).short()).join(format!("{name}.json"));
    if path.exists() {
        return Ok(path);
    }
    let failed = |error| Error::io("ship.overlay", &path, error);
    let partial = path.with_extension(format!("{}.partial", std::process::id()));
    std::fs::create_dir_all(path.parent().unwrap_or(folder)).map_err(failed)?;
    std::fs::write(&partial, text).and_then(|()| std::fs::rename(&partial, &path)).map_err(failed)?;
    Ok(path)
}

fn with_folder(mut object: Value, folder: &Path) -> Value {
    let Some(pod) = object.pointer_mut("/spec/template/spec") else { return object };
    let folder: PathBuf = folder.components().collect();
    let place = folder.to_string_lossy();
    pod["volumes"] = json!([{"name": "environment", "hostPath": {"path": place, "type": "Directory"}}]);
    pod["securityContext"] = json!({"runAsUser": getuid().as_raw(), "runAsGroup": getgid().as_raw()});
    for container in pod.get_mut("containers").and_then(Value::as_array_mut).into_iter().flatten() {
        container["volumeMounts"] = json!([{"name": "environment", "mountPath": place}]);
        container["lifecycle"] = json!({"preStop": {"sleep": {"seconds": GOES_ON}}});
        let track = json!({"name": "TRACK", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['deploy.ecolaura.io/track']"}}});
        if let Some(env) = container.get_mut("env").and_then(Value::as_array_mut) {
            env.push(track);
        }
    }
    object
}
