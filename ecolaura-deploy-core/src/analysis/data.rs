//! Whether data survived: measurements from before and after, held against what each check allows.

use crate::{
    Verdict,
    backend::{AllowedChange, DataCheck, Measurements},
};

/// The verdict on `after`, and a line for each of `checks`. A check that could be measured neither before nor after is
/// no data; one that was measured before and cannot be any more fails; one that is new passes, unless it must be
/// exactly something else. Rows that referred to nothing before may do so afterwards.
pub fn judge(checks: &[DataCheck], before: &Measurements, after: &Measurements) -> (Verdict, Vec<String>) {
    let found = |all: &Measurements, name: &str| all.0.get(name).copied().flatten();
    let mut verdict = Verdict::Pass;
    let mut lines = Vec::new();
    for check in checks {
        let name = check.name();
        let (was, is) = (found(before, &name), found(after, &name));
        let one = judge_one(check, was, is);
        verdict = match (verdict, one) {
            (Verdict::Fail, _) | (_, Verdict::Fail) => Verdict::Fail,
            (Verdict::NoData, _) | (_, Verdict::NoData) => Verdict::NoData,
            _ => Verdict::Pass,
        };
        let number = |value: Option<i64>| value.map_or_else(|| "nothing".to_owned(), |value| value.to_string());
        lines.push(format!("{one:?}: {name}: {} → {} ({})", number(was), number(is), allowed(check)));
    }
    (verdict, lines)
}

fn judge_one(check: &DataCheck, was: Option<i64>, is: Option<i64>) -> Verdict {
    let (Some(is), allowed) = (is, bound(check)) else {
        return if was.is_some() { Verdict::Fail } else { Verdict::NoData };
    };
    let good = match (allowed, was) {
        (Bound::Findings, was) => is <= was.unwrap_or_default(),
        (Bound::Change(AllowedChange::Exactly(value)), _) => is == value,
        (Bound::Change(_), None) => true,
        (Bound::Change(AllowedChange::None), Some(was)) => is == was,
        (Bound::Change(AllowedChange::Growth), Some(was)) => is >= was,
        (Bound::Change(AllowedChange::AtMost(most)), Some(was)) => is.abs_diff(was) <= most,
    };
    if good { Verdict::Pass } else { Verdict::Fail }
}

enum Bound {
    /// No more findings than before.
    Findings,
    Change(AllowedChange),
}

fn bound(check: &DataCheck) -> Bound {
    match check {
        DataCheck::ForeignKeys => Bound::Findings,
        DataCheck::Structure => Bound::Change(AllowedChange::Exactly(0)),
        DataCheck::RowCount { allowed, .. } | DataCheck::Sum { allowed, .. } | DataCheck::Query { allowed, .. } => {
            Bound::Change(*allowed)
        }
    }
}

fn allowed(check: &DataCheck) -> String {
    match bound(check) {
        Bound::Findings => "allowed: no more than before".to_owned(),
        Bound::Change(AllowedChange::None) => "allowed: no change".to_owned(),
        Bound::Change(AllowedChange::Growth) => "allowed: growth".to_owned(),
        Bound::Change(AllowedChange::AtMost(most)) => format!("allowed: a change of at most {most}"),
        Bound::Change(AllowedChange::Exactly(value)) => format!("allowed: exactly {value}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(allowed: AllowedChange) -> DataCheck {
        DataCheck::RowCount { table: "t".into(), allowed }
    }

    fn verdict(check: &DataCheck, was: Option<i64>, is: Option<i64>) -> Verdict {
        let measured = |value| Measurements([(check.name(), value)].into());
        judge(std::slice::from_ref(check), &measured(was), &measured(is)).0
    }

    #[test]
    fn each_check_allows_what_it_says() {
        use AllowedChange::{AtMost, Exactly, Growth};
        for (check, was, good, bad) in [
            (rows(AllowedChange::None), 3, 3, 2),
            (rows(Growth), 3, 9, 2),
            (rows(AtMost(2)), 3, 1, 0),
            (rows(AtMost(2)), i64::MIN, i64::MIN + 2, i64::MAX),
            (rows(Exactly(7)), 3, 7, 3),
            (DataCheck::ForeignKeys, 3, 3, 4),
            (DataCheck::Structure, 3, 0, 3),
        ] {
            assert_eq!(verdict(&check, Some(was), Some(good)), Verdict::Pass, "{check:?}");
            assert_eq!(verdict(&check, Some(was), Some(bad)), Verdict::Fail, "{check:?}");
        }
    }

    #[test]
    fn what_cannot_be_measured_never_passes() {
        let check = rows(AllowedChange::Growth);
        assert_eq!(verdict(&check, Some(3), None), Verdict::Fail);
        assert_eq!(verdict(&check, None, None), Verdict::NoData);
        assert_eq!(verdict(&check, None, Some(0)), Verdict::Pass, "a new table");
        assert_eq!(verdict(&DataCheck::ForeignKeys, None, Some(1)), Verdict::Fail);
        let (verdict, lines) = judge(&[], &Measurements::default(), &Measurements::default());
        assert_eq!((verdict, lines.len()), (Verdict::Pass, 0));
    }
}
