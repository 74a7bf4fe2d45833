//! Severity from a CVSS 3 vector, by the base score's equations in FIRST's specification (section 7.1).

use crate::backend::Severity;

/// The severity of `score`: a CVSS 3.0 or 3.1 vector, or the number itself. `None` for anything else.
pub(super) fn severity(score: &str) -> Option<Severity> {
    let score = match score.parse::<f64>() {
        Ok(score) => score,
        Err(_) => base_score(score)?,
    };
    Some(match score {
        score if score < 4.0 => Severity::Low,
        score if score < 7.0 => Severity::Medium,
        score if score < 9.0 => Severity::High,
        _ => Severity::Critical,
    })
}

fn base_score(vector: &str) -> Option<f64> {
    let metrics = vector.strip_prefix("CVSS:3.1/").or_else(|| vector.strip_prefix("CVSS:3.0/"))?;
    let metric = |name: &str| {
        metrics.split('/').filter_map(|metric| metric.split_once(':')).find(|(key, _)| *key == name).map(|(_, v)| v)
    };
    let changed = metric("S")? == "C";
    let vector = pick(metric("AV")?, &[("N", 0.85), ("A", 0.62), ("L", 0.55), ("P", 0.2)])?;
    let complexity = pick(metric("AC")?, &[("L", 0.77), ("H", 0.44)])?;
    let privileges =
        if changed { [("N", 0.85), ("L", 0.68), ("H", 0.5)] } else { [("N", 0.85), ("L", 0.62), ("H", 0.27)] };
    let privileges = pick(metric("PR")?, &privileges)?;
    let interaction = pick(metric("UI")?, &[("N", 0.85), ("R", 0.62)])?;
    let loss = |name| pick(metric(name)?, &[("H", 0.56), ("L", 0.22), ("N", 0.0)]);
    let kept = (1.0 - loss("C")?) * (1.0 - loss("I")?) * (1.0 - loss("A")?);
    let impact_base: f64 = 1.0 - kept;
    let impact =
        if changed { 7.52 * (impact_base - 0.029) - 3.25 * (impact_base - 0.02).powi(15) } else { 6.42 * impact_base };
    if impact <= 0.0 {
        return Some(0.0);
    }
    let exploitability = 8.22 * vector * complexity * privileges * interaction;
    let sum = (impact + exploitability) * if changed { 1.08 } else { 1.0 };
    Some(round_up(sum.min(10.0)))
}

fn pick(value: &str, weights: &[(&str, f64)]) -> Option<f64> {
    weights.iter().find(|(name, _)| *name == value).map(|(_, weight)| *weight)
}

/// The smallest number with one decimal that is not less, without the noise of binary fractions.
fn round_up(score: f64) -> f64 {
    let fine = (score * 100_000.0).round();
    (fine / 10_000.0).ceil() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_those_of_the_published_examples() {
        for (vector, score) in [
            ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", 9.8),
            ("CVSS:3.1/AV:L/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:H", 6.2),
            ("CVSS:3.1/AV:N/AC:L/PR:N/UI:R/S:C/C:L/I:L/A:N", 6.1),
            ("CVSS:3.0/AV:N/AC:L/PR:L/UI:N/S:C/C:L/I:L/A:N", 6.4),
            ("CVSS:3.0/AV:N/AC:H/PR:N/UI:R/S:U/C:L/I:N/A:N", 3.1),
            ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:N", 0.0),
        ] {
            let found = base_score(vector).unwrap();
            assert!((found - score).abs() < 1e-9, "{vector}: {found}");
        }
        assert_eq!(severity("7.0"), Some(Severity::High));
        assert_eq!(severity("CVSS:4.0/AV:N"), None);
        assert_eq!(severity("CVSS:3.1/AV:N"), None);
    }
}
