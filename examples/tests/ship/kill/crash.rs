//! Aborts before, after and within every step.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    tally::{Tally, Verdict},
    world::{App, OLD, World},
};

const STEPS: &str = "aborted before or after a step";
const WITHIN: &str = "aborted between effect and record";

/// Steps that others run beside, and that end before them: they are aborted first.
const EARLY: [&str; 5] = ["keep-manifests", "keep-migrations", "check-out", "format", "lint"];

/// Where it aborted: `before` or `after`, and the step.
type Places = BTreeSet<(String, String)>;

pub fn steps(world: &World, tally: &mut Tally, long: bool) {
    let steps = ordered(&world.user.steps("dev"));
    let mut reached = Places::new();
    let app = world.app();
    tally.case(STEPS, "one release, aborted before each step", || chain(world, &app, "before", &steps, &mut reached));
    let app = world.app();
    tally.case(STEPS, "one release, aborted after each step", || chain(world, &app, "after", &steps, &mut reached));
    let mut idle = BTreeSet::new();
    for (number, step) in steps.iter().enumerate() {
        for place in ["before", "after"] {
            let missed = !reached.contains(&(place.to_owned(), step.clone()));
            for resume in [false, true] {
                if long || (missed && resume == (number % 2 == 0)) {
                    let name = format!("{place} {step}, {}", if resume { "--resume" } else { "again" });
                    tally.case(STEPS, &name, || single(world, &app, (place, step), resume, &mut idle));
                }
            }
        }
    }
    tally.case(STEPS, "another release comes after the abort", || another_release(world));
}

pub fn effects(world: &World, tally: &mut Tally) {
    tally.case(WITHIN, "a release", || within(world));
    tally.case(WITHIN, "a way back", || within_way_back(world));
}

fn ordered(steps: &[String]) -> Vec<String> {
    let mut steps = steps.to_vec();
    steps.sort_by_key(|step| EARLY.iter().position(|early| early == step).unwrap_or(EARLY.len()));
    // The backend's roll-out is judged for a while, and the notifications' goes on beside it.
    let backend = steps.iter().position(|step| step == "roll-out-backend").unwrap();
    let last = steps.iter().position(|step| step == "check-notifications").unwrap();
    steps[backend..=last].rotate_left(1);
    steps
}

/// Everything that needs `step`.
fn behind(world: &World, step: &str) -> BTreeSet<String> {
    // The first run was of a release, as those here.
    let (_, records) = &world.runs()[0];
    let plan = records[0]["body"]["plan"]["steps"].as_array().unwrap().clone();
    let needs: BTreeMap<&str, BTreeSet<&str>> = plan
        .iter()
        .map(|step| {
            let needs = step["needs"].as_array().unwrap().iter().map(|need| need.as_str().unwrap()).collect();
            (step["name"].as_str().unwrap(), needs)
        })
        .collect();
    let mut behind = BTreeSet::from([step]);
    while let Some(next) = needs.iter().find(|(name, needs)| !behind.contains(*name) && !needs.is_disjoint(&behind)) {
        behind.insert(next.0);
    }
    behind.remove(step);
    behind.into_iter().map(str::to_owned).collect()
}

/// One release that is aborted at each step, and goes on from there to the next one. Nobody notices.
fn chain(world: &World, app: &App, place: &str, steps: &[String], reached: &mut Places) -> Verdict {
    world.to_old();
    let aborts = reached.len();
    for (number, step) in steps.iter().enumerate() {
        // Should the step be over already, it is aborted before what comes next instead.
        let mut next = behind(world, step);
        if place == "before" || step != "record" {
            next.insert("record".to_owned());
        }
        let mut arguments: Vec<String> = vec!["--app".to_owned(), app.folder.clone()];
        arguments.extend((number % 2 == 1).then(|| "--resume".to_owned()));
        arguments.extend([format!("--crash-{place}"), format!("dev/{step}")]);
        arguments.extend(next.iter().flat_map(|next| ["--crash-before".to_owned(), format!("dev/{next}")]));
        let run = world.ship(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(run.code, None, "--crash-{place} {step}: {run}");
        reached.insert(run.aborted().unwrap_or_else(|| panic!("aborted at {step}: {run}")));
        assert!([OLD, &app.version].contains(&world.user.version("dev").as_str()), "--crash-{place} {step}");
        world.nothing_failed();
    }
    world.ship(&["--app", &app.folder]).ends_with(0);
    world.stands(&app.version);
    world.is_done(app);
    Verdict::Survived(reached.len() - aborts)
}

/// `idle` are the steps in which this release is known to have nothing to do.
fn single(world: &World, app: &App, (place, step): (&str, &str), resume: bool, idle: &mut BTreeSet<String>) -> Verdict {
    let nothing_to_do = || Verdict::NotApplicable("there was nothing to do in it".to_owned());
    if idle.contains(step) {
        return nothing_to_do();
    }
    world.to_old();
    let run = world.ship(&["--app", &app.folder, &format!("--crash-{place}"), &format!("dev/{step}")]);
    if run.code == Some(0) {
        *idle = run.unchanged("dev");
        assert!(idle.contains(step), "{step} was passed by: {run}");
        return nothing_to_do();
    }
    assert_eq!(run.code, None, "{run}");
    world.nothing_failed();
    go_on(world, app, resume);
    Verdict::Survived(1)
}

fn go_on(world: &World, app: &App, resume: bool) {
    let app_of = ["--app", &app.folder];
    let run = if resume { world.ship(&[&app_of[..], &["--resume"]].concat()) } else { world.ship(&app_of) };
    run.ends_with(0);
    world.stands(&app.version);
    world.is_done(app);
}

/// The effects that nobody recorded are neither lost nor done twice.
fn within(world: &World) -> Verdict {
    const EFFECTS: [&str; 10] = [
        "compile",
        "build-backend",
        "push-backend",
        "back-up",
        "migrate",
        "roll-out-notifications",
        "roll-out-backend",
        "publish-site",
        "switch-flag",
        "record",
    ];
    let mut left = &EFFECTS[..];
    while !left.is_empty() {
        world.to_old();
        let app = world.app();
        left = abort_within(world, left, &["--app", &app.folder], &["--app", &app.folder, "--resume"]);
        world.ship(&["--app", &app.folder]).ends_with(0);
        world.stands(&app.version);
        world.is_done(&app);
    }
    Verdict::Survived(EFFECTS.len())
}

fn within_way_back(world: &World) -> Verdict {
    const EFFECTS: [&str; 6] =
        ["roll-out-notifications", "roll-out-backend", "publish-site", "revert", "tag-backend", "record"];
    let mut left = &EFFECTS[..];
    while !left.is_empty() {
        world.to_old();
        let app = world.app();
        world.ship(&["--app", &app.folder]).ends_with(0);
        left = abort_within(world, left, &["--rollback"], &["--resume"]);
        // Whatever is open is the way back, and flags stay as they are on it.
        world.to_old();
        world.stands(OLD);
    }
    Verdict::Survived(EFFECTS.len())
}

/// Aborts one run within each of `steps` by turns, and returns those that it had done beside an earlier one: they are
/// for another run.
fn abort_within<'a>(world: &World, steps: &'a [&'a str], begin: &[&str], resume: &[&str]) -> &'a [&'a str] {
    for (number, step) in steps.iter().enumerate() {
        let call = if number % 2 == 1 { resume } else { begin };
        let run = world.ship(&[call, &["--crash-within", &format!("dev/{step}")]].concat());
        world.nothing_failed();
        match run.code {
            None => {}
            Some(0) if number > 0 => return &steps[number..],
            _ => panic!("--crash-within {step}: {run}"),
        }
    }
    &[]
}

/// What was left open is taken back, since it was of something else; `--resume` refuses to.
fn another_release(world: &World) -> Verdict {
    world.to_old();
    let (first, second) = (world.app(), world.app());
    let run = world.ship(&["--app", &first.folder, "--crash-after", "dev/publish-site"]);
    assert_eq!(run.code, None, "{run}");
    let run = world.ship(&["--app", &second.folder, "--resume"]);
    run.ends_with(1);
    assert!(run.output.contains("cannot go on with this") && run.output.contains("without --resume"), "{run}");
    assert!(world.is_open());
    let run = world.ship(&["--app", &second.folder]);
    run.ends_with(0);
    assert!(run.output.contains("was left open by"), "{run}");
    world.stands(&second.version);
    world.is_done(&second);
    Verdict::Survived(1)
}
