#![expect(clippy::needless_pass_by_value, reason = "literals are handed in")]

use serde_json::{Value, json};

use super::*;

fn set(json: Value) -> Fields {
    json.as_object().unwrap().clone()
}

fn entry(manager: &str, operation: &str, version: &str, fields: Value) -> Value {
    json!({"manager": manager, "operation": operation, "apiVersion": version, "fieldsType": "FieldsV1",
        "time": "2026-01-01T00:00:00Z", "fieldsV1": fields})
}

fn migrating() -> Ownership {
    let mut ownership = Ownership::default();
    ownership.migrate_client_side();
    ownership
}

#[test]
fn a_union_has_what_either_has() {
    let one = set(json!({"f:metadata": {"f:labels": {"f:app": {}}}, "f:data": {".": {}, "f:a": {}}}));
    let other = set(json!({"f:metadata": {"f:labels": {".": {}, "f:tier": {}}}, "f:data": {"f:b": {}}}));
    let all = json!({"f:metadata": {"f:labels": {".": {}, "f:app": {}, "f:tier": {}}}, "f:data": {".": {}, "f:a": {}, "f:b": {}}});
    assert_eq!(Value::Object(fields::union(&one, &other)), all);
    assert_eq!(fields::union(&other, &one), fields::union(&one, &other));
    assert_eq!(fields::union(&one, &one), one);
    assert_eq!(fields::union(&one, &Fields::new()), one, "nothing at all is no field of its own");
}

#[test]
fn a_whole_field_and_a_part_of_it_are_both() {
    let whole = set(json!({"f:spec": {"f:selector": {}}}));
    let part = set(json!({"f:spec": {"f:selector": {"f:app": {}}}}));
    let both = json!({"f:spec": {"f:selector": {".": {}, "f:app": {}}}});
    assert_eq!(Value::Object(fields::union(&whole, &part)), both);
    assert_eq!(Value::Object(fields::union(&part, &whole)), both);
}

#[test]
fn items_of_lists_are_merged_by_key_and_by_value() {
    let one = set(
        json!({"f:containers": {r#"k:{"name":"web"}"#: {".": {}, "f:image": {}}}, "f:finalizers": {r#"v:"a""#: {}}}),
    );
    let other = set(json!({"f:containers": {r#"k:{"name":"web"}"#: {"f:args": {}}, r#"k:{"name":"log"}"#: {".": {}}},
        "f:finalizers": {r#"v:"b""#: {}}}));
    let all = json!({"f:containers": {r#"k:{"name":"web"}"#: {".": {}, "f:image": {}, "f:args": {}}, r#"k:{"name":"log"}"#: {".": {}}},
        "f:finalizers": {r#"v:"a""#: {}, r#"v:"b""#: {}}});
    assert_eq!(Value::Object(fields::union(&one, &other)), all);
    assert_eq!(fields::count(&fields::union(&one, &other)), 5);
}

#[test]
fn owners_on_the_client_become_ours_and_others_stay() {
    let last = format!("f:{LAST_APPLIED}");
    let kubectl = entry(
        "kubectl-client-side-apply",
        "Update",
        "v1",
        json!({"f:metadata": {"f:annotations": {".": {}, (last): {}}}, "f:data": {".": {}, "f:a": {}}}),
    );
    let edit = entry("kubectl-edit", "Update", "v1", json!({"f:data": {"f:b": {}}}));
    let mut scale = entry("kubectl-edit", "Update", "v1", json!({"f:spec": {"f:replicas": {}}}));
    scale["subresource"] = json!("scale");
    let controller = entry("controller", "Update", "v1", json!({"f:data": {"f:c": {}}}));
    let ours = entry(MANAGER, "Apply", "v1", json!({"f:data": {"f:a": {}}}));
    let found = [kubectl.clone(), scale.clone(), controller.clone(), ours, edit];
    let merged = migrating().merged(&found).unwrap();
    let fields = json!({"f:data": {".": {}, "f:a": {}, "f:b": {}}});
    assert_eq!(merged.entries, [entry(MANAGER, "Apply", "v1", fields), scale, controller.clone()]);
    assert_eq!(
        merged.told().collect::<Vec<_>>(),
        ["takes over 1 field from kubectl-client-side-apply", "takes over 1 field from kubectl-edit"]
    );
    assert_eq!(migrating().merged(&merged.entries), None, "there is nothing left to take over");
    assert_eq!(Ownership::default().merged(&found), None);

    let first = migrating().merged(&[kubectl, controller]).unwrap();
    assert_eq!((manager(&first.entries[0]), text(&first.entries[0], "operation")), (MANAGER, "Apply"));
}

#[test]
fn what_is_owned_in_another_version_is_left() {
    let ours = entry(MANAGER, "Apply", "autoscaling/v2", json!({"f:spec": {"f:metrics": {}}}));
    let theirs = entry("kubectl-create", "Update", "autoscaling/v1", json!({"f:spec": {"f:targetCPU": {}}}));
    assert_eq!(migrating().merged(&[ours, theirs.clone()]), None);
    let merged = migrating().merged(&[theirs]).unwrap();
    assert_eq!(text(&merged.entries[0], "apiVersion"), "autoscaling/v1");
}

#[test]
fn what_goes_with_its_owner_is_named() {
    let theirs = set(json!({
        "f:metadata": {"f:labels": {"f:app.example.com/tier": {}, "f:theirs": {}}},
        "f:spec": {
            "f:replicas": {}, "f:strategy": {".": {}, "f:type": {}},
            "f:ports": {r#"k:{"port":80,"protocol":"TCP"}"#: {".": {}, "f:port": {}}, r#"k:{"port":81,"protocol":"TCP"}"#: {".": {}, "f:port": {}}},
            "f:args": {r#"v:"-x""#: {}, r#"v:"-y""#: {}},
        },
    }));
    let wanted = json!({"metadata": {"labels": {}}, "spec": {"replicas": 1, "ports": [{"port": 80}], "args": ["-x"]}});
    let other = set(json!({"f:metadata": {"f:labels": {"f:theirs": {}}}}));
    let mut missing = fields::missing(&theirs, &wanted, &[other]);
    missing.sort();
    let expected =
        [r#"metadata.labels["app.example.com/tier"]"#, "spec.args[-y]", "spec.ports[81,TCP]", "spec.strategy"];
    assert_eq!(missing, expected);
}

#[test]
fn only_conflicts_with_those_who_give_way_are_forced() {
    let status = |owners: &[&str]| -> Status {
        let causes: Vec<Value> = owners
            .iter()
            .map(|owner| json!({"reason": "FieldManagerConflict", "field": ".spec.replicas", "message": format!("conflict with \"{owner}\" with subresource \"scale\" using apps/v1")}))
            .collect();
        serde_json::from_value(json!({"code": 409, "details": {"causes": causes}})).unwrap()
    };
    let none = Ownership::default();
    assert!(none.yields(&status(&[OPERATOR])));
    assert!(!none.yields(&status(&[OPERATOR, "kubectl-edit"])));
    assert!(migrating().yields(&status(&[OPERATOR, "kubectl-edit"])));
    assert!(!migrating().yields(&status(&["somebody"])));
    assert!(!migrating().yields(&status(&[])));
}
