//! The configuration of an image: what the specification says, over what the base says.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::check::normal_port;
use crate::{
    backend::ImageSpec,
    local::oci::{Configuration, Process, environment},
    vocabulary::Digest,
};

/// The time of everything in an image: the same input is to give the same image.
const EPOCH: &str = "1970-01-01T00:00:00Z";

/// The configuration of an image of `spec` whose own layers unpack to `layers`.
pub(super) fn configuration(spec: &ImageSpec, base: Option<&Configuration>, layers: &[Digest]) -> Configuration {
    let mut config = base.cloned().unwrap_or_default();
    let based = !config.rootfs.diff_ids.is_empty();
    config.created = Some(EPOCH.to_owned());
    config.os.clone_from(&spec.platform.os);
    config.architecture.clone_from(&spec.platform.architecture);
    config.rootfs.diff_ids.extend(layers);
    // A history that says nothing of some layers is worse than none.
    config.history = match config.history {
        None if based => None,
        history => Some(history.unwrap_or_default().into_iter().chain(layers.iter().map(step)).collect()),
    };
    config.config = Some(process(spec, config.config.unwrap_or_default()));
    config
}

fn step(_layer: &Digest) -> Value {
    json!({"created": EPOCH, "created_by": "ecolaura-deploy"})
}

fn process(spec: &ImageSpec, mut process: Process) -> Process {
    if !spec.entrypoint.is_empty() {
        process.entrypoint = Some(spec.entrypoint.clone());
        // The arguments of the base are for the program of the base.
        process.cmd = None;
    }
    if !spec.command.is_empty() {
        process.cmd = Some(spec.command.clone());
    }
    let mut env = environment(&process);
    env.extend(spec.env.clone());
    process.env = (!env.is_empty()).then(|| env.iter().map(|(key, value)| format!("{key}={value}")).collect());
    if !spec.labels.is_empty() {
        process.labels.get_or_insert_default().extend(spec.labels.clone());
    }
    let ports: BTreeMap<_, _> = spec.ports.iter().filter_map(|port| Some((normal_port(port)?, json!({})))).collect();
    if !ports.is_empty() {
        process.exposed_ports.get_or_insert_default().extend(ports);
    }
    process.user = spec.user.clone().or(process.user);
    process.working_dir = spec.working_dir.clone().or(process.working_dir);
    process
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vocabulary::Platform;

    #[test]
    fn the_specification_goes_over_the_base() {
        let base: Configuration = serde_json::from_value(json!({
            "architecture": "amd64", "os": "linux", "variant": "v1",
            "config": {"User": "app", "Env": ["PATH=/bin", "A=1"], "Entrypoint": ["/old"], "Cmd": ["x"], "StopSignal": "INT"},
            "rootfs": {"type": "layers", "diff_ids": [Digest::of("a")]}, "history": [{"created_by": "b"}],
        }))
        .unwrap();
        let spec = ImageSpec::new(Platform::new("linux", "amd64")).entrypoint(["/new"]).env("A", "2").port("80");
        let config = serde_json::to_value(configuration(&spec, Some(&base), &[Digest::of("b")])).unwrap();
        let expected = json!({"User": "app", "Env": ["A=2", "PATH=/bin"], "Entrypoint": ["/new"],
            "ExposedPorts": {"80/tcp": {}}, "StopSignal": "INT"});
        assert_eq!(config["config"], expected);
        assert_eq!(config["rootfs"]["diff_ids"], json!([Digest::of("a"), Digest::of("b")]));
        assert_eq!((config["history"].as_array().unwrap().len(), &config["variant"]), (2, &json!("v1")));
    }
}
