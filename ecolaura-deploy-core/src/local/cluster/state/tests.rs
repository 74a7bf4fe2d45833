//! Editions, revisions, and what a damaged file says.

use super::*;
use crate::local::cluster::tests::{service, variable};

fn add(record: &mut Service, spec: DesiredService) -> u64 {
    record.replace(spec, ImageConfig::default())
}

#[test]
fn a_revision_is_made_by_new_pods_only() {
    let mut record = Service::default();
    let mut scaled = service("a");
    scaled.replicas = 7;
    assert_eq!(
        [service("a"), scaled.clone(), service("b"), service("b"), service("a")].map(|spec| add(&mut record, spec)),
        [1, 1, 2, 2, 3]
    );
    assert_eq!(record.editions.len(), 4);
    let (first, second) = (record.find(1, Some(1)), record.find(1, Some(2)));
    assert_eq!([first, second, record.find(1, None), record.find(1, Some(9))], [Some(1), Some(2), Some(2), Some(2)]);
    record.go_back(2);
    assert_eq!(record.stable().map(|edition| &edition.spec), Some(&scaled));
    assert_eq!(record.find(4, None), None);
}

#[test]
fn a_candidate_is_one_until_it_is_another() {
    let mut record = Service::default();
    add(&mut record, service("a"));
    let mut beside = |mode: &str, replicas| record.stand_beside(service(mode), ImageConfig::default(), replicas);
    assert_eq!([beside("b", Some(1)), beside("b", Some(1)), beside("c", None)], [2, 2, 3]);
    assert!(!record.change_candidate(2, |candidate| candidate.percent = 9));
    assert!(record.change_candidate(3, |candidate| candidate.percent = 9));
    assert_eq!(record.candidate().map(|(candidate, _)| (candidate.percent, candidate.replicas)), Some((9, 2)));
    record.promote();
    assert_eq!((record.stable().map(|edition| edition.revision), record.candidate().is_none()), (Some(3), true));
}

#[test]
fn ten_others_are_kept_and_never_fewer_than_what_runs() {
    let mut record = Service::default();
    for number in 0..30 {
        let mut spec = service("a");
        spec.template.env = vec![variable("NUMBER", &number.to_string())];
        add(&mut record, spec);
    }
    assert_eq!(record.editions.len(), KEPT + 1);
    assert_eq!((record.find(19, None), record.find(20, None)), (None, Some(20)));
    record.go_back(20);
    record.stand_beside(service("b"), ImageConfig::default(), None);
    add(&mut record, service("c"));
    assert!(record.stable().is_some() && record.editions.len() <= KEPT + 1);
}

#[test]
fn the_state_comes_back_and_damage_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let folder = Folder::create(&dir.path().join("a/b")).unwrap();
    assert_eq!(folder.read().unwrap(), State::default());
    let mut state = State::default();
    let namespace = state.namespaces.entry("dev".parse().unwrap()).or_default();
    add(namespace.services.entry("backend".parse().unwrap()).or_default(), service("a"));
    folder.write(&state).unwrap();
    assert_eq!(folder.read().unwrap(), state);
    assert_eq!(folder.salt().unwrap(), folder.salt().unwrap());
    for text in ["{", "{\"form\":99,\"namespaces\":{}}"] {
        fs::write(folder.file("state.json"), text).unwrap();
        let error = folder.read().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(error.report().contains("state.json"), "{}", error.report());
    }
}

#[test]
fn one_holds_the_folder() {
    let dir = tempfile::tempdir().unwrap();
    let folder = Folder::create(dir.path()).unwrap();
    let lock = folder.lock(Holder::Agent(7)).unwrap();
    assert!(lock.is_some() && folder.lock(Holder::Program(8)).unwrap().is_none());
    assert_eq!(folder.holder().unwrap(), Some(Holder::Agent(7)));
    drop(lock);
    assert_eq!(folder.holder().unwrap(), None);
}
