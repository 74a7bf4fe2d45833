//! Compares an object with its schema: the strictness of an API server, and a warning for what will not be honoured.

use crate::manifest::{Field, Value, suggestion};

/// What a field may hold.
#[derive(Debug, Clone, Copy)]
pub(super) enum Shape {
    Text,
    /// A whole number in this range.
    Whole(i128, i128),
    Truth,
    /// A number of pods or a percentage; a port or its name.
    WholeOrText,
    List(&'static Self),
    /// Keys of the user's choice.
    Map(&'static Self),
    Object(&'static [Known]),
    /// Not looked into.
    Any,
}

/// What becomes of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// It has its effect, or can have none here.
    Honoured,
    /// It must be there.
    Required,
    /// It is a field of Kubernetes without effect here: what its absence means.
    Ignored(&'static str),
}

/// A field of Kubernetes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known {
    pub(super) name: &'static str,
    shape: Shape,
    becomes: Use,
}

pub(super) const fn used(name: &'static str, shape: Shape) -> Known {
    Known { name, shape, becomes: Use::Honoured }
}

pub(super) const fn required(name: &'static str, shape: Shape) -> Known {
    Known { name, shape, becomes: Use::Required }
}

pub(super) const fn ignored(name: &'static str, consequence: &'static str) -> Known {
    Known { name, shape: Shape::Any, becomes: Use::Ignored(consequence) }
}

/// Notes everything in `field` that is not as `shape` says.
pub(super) fn check(field: &Field<'_>, shape: &Shape) {
    match (shape, &field.node.value) {
        (Shape::Any, _)
        | (Shape::Text | Shape::WholeOrText, Value::Text(_))
        | (Shape::WholeOrText, Value::Whole(_))
        | (Shape::Truth, Value::Truth(_)) => {}
        (Shape::Whole(min, max), Value::Whole(number)) if (min..=max).contains(&number) => {}
        (Shape::List(item), Value::List(_)) => field.items().for_each(|entry| check(&entry, item)),
        (Shape::Map(value), Value::Map(_)) => field.fields().for_each(|(_, entry)| check(&entry, value)),
        (Shape::Object(known), Value::Map(_)) => object(field, known),
        (_, Value::Whole(_) | Value::Truth(_) | Value::Fraction(_)) if matches!(shape, Shape::Text) => {
            field.expected("a text; put it in quotes");
        }
        _ => field.expected(&expectation(shape)),
    }
}

fn object(field: &Field<'_>, known: &[Known]) {
    for (name, entry) in field.fields() {
        match known.iter().find(|known| known.name == name) {
            None => {
                let near = suggestion(name, known.iter().map(|known| known.name));
                entry.problem(format!("is not a field of Kubernetes{near}"));
            }
            Some(_) if entry.is_null() => {}
            Some(Known { becomes: Use::Ignored(consequence), .. }) => {
                if !is_off(&entry) {
                    entry.warning(format!("is not honoured: {consequence}"));
                }
            }
            Some(known) => check(&entry, &known.shape),
        }
    }
    for known in known.iter().filter(|known| known.becomes == Use::Required && field.get(known.name).is_none()) {
        field.missing(known.name, &expectation(&known.shape));
    }
}

/// Whether the field says what is so without it.
fn is_off(field: &Field<'_>) -> bool {
    match &field.node.value {
        Value::Truth(value) => !value,
        Value::List(items) => items.is_empty(),
        Value::Map(entries) => entries.is_empty(),
        _ => false,
    }
}

fn expectation(shape: &Shape) -> String {
    match shape {
        Shape::Text => "a text".to_owned(),
        Shape::Whole(min, max) => format!("a whole number from {min} to {max}"),
        Shape::Truth => "`true` or `false`".to_owned(),
        Shape::WholeOrText => "a whole number or a text".to_owned(),
        Shape::List(_) => "a list".to_owned(),
        Shape::Map(_) | Shape::Object(_) => "an object".to_owned(),
        Shape::Any => "a value".to_owned(),
    }
}
