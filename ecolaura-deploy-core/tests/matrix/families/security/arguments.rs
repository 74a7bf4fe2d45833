//! Values that would be options, commands, headers or markup somewhere else.

use std::sync::Arc;

use ecolaura_deploy_core::{
    cdn::{HeaderRule, SiteSource},
    event::{EventSink, FanOut, RecordingSink, Stream},
    pipeline::{Pipeline, constant},
    report::{Style, plain::PlainReporter},
    run::Runner,
    step::Step as _,
    steps::{self, Command},
    store::ObjectRunStore,
    vocabulary::{EnvironmentName, ImageReference, Name, Repository, ServiceName, Tag},
};

use super::{Yard, block, cx, refused, trap};
use crate::families::Cell;

pub(super) fn all() -> Vec<Cell> {
    let mut plans = vec![
        trap("arguments/command/shell", || {
            let yard = Yard::new();
            let arguments =
                ["$(touch made)", "`touch made`", "; touch made", "&& touch made", "| touch made", "> made"];
            block(Command::new("echo").args(arguments).dir(yard.inside()).apply(&cx(), ()))
                .map_err(|error| error.report())?;
            if yard.inside().join("made").exists() { Err("a shell read it".to_owned()) } else { yard.untouched() }
        }),
        trap("arguments/command/nul", || {
            refused(block(Command::new("echo").args(["a\0b"]).apply(&cx(), ())), &["echo"])
        }),
        trap("arguments/image/option", || {
            refused("-rf".parse::<Tag>(), &["-rf"])?;
            refused("--output=x".parse::<Repository>(), &["--output=x"])?;
            refused("team/-x".parse::<Repository>(), &["team/-x"])?;
            refused("--push:v1".parse::<ImageReference>(), &["--push:v1"])
        }),
        trap("arguments/image/climbs", || {
            refused("../../x".parse::<Repository>(), &["../../x"])?;
            refused("a/../b".parse::<Repository>(), &["a/../b"])?;
            refused("..".parse::<Tag>(), &["`..`"])
        }),
        trap("arguments/names", || {
            for name in ["-x", "../prod", "a/b", "a b", "a;b", "$(a)", "a\n", ""] {
                let shown = format!("`{name}`");
                refused(name.parse::<EnvironmentName>(), &[&shown])?;
                refused(name.parse::<Name>(), &[&shown])?;
                refused(name.parse::<ServiceName>(), &[&shown])?;
            }
            Ok(())
        }),
        trap("arguments/site/header", || {
            let yard = Yard::new();
            let site = SiteSource::new(yard.inside());
            let split = site.clone().header(HeaderRule::new("*", "x-a", "b\r\nset-cookie: c"));
            refused(block(split.manifest(&cx())), &["x-a"])?;
            let name = site.clone().header(HeaderRule::new("*", "x-a\r\nb", "c"));
            refused(block(name.manifest(&cx())), &["is not a header name"])?;
            refused(block(site.content_type("*", "text/html\r\nx: y").manifest(&cx())), &["is not a header value"])
        }),
        trap("arguments/report/terminal-escapes", || {
            let text = reports()?.0;
            if text.contains('\u{1b}') || text.contains('\u{7}') { Err(format!("{text:?}")) } else { Ok(()) }
        }),
    ];
    plans.extend(pages());
    plans
}

const ESCAPES: &str = "\u{1b}]52;c;cm0gLXJmIC8=\u{7}\u{1b}[2J<script>alert(1)</script>";

/// The plain report, and the events, of a run whose step says hostile things wherever it can.
fn reports() -> Result<(String, Vec<ecolaura_deploy_core::event::Event>), String> {
    let mut pipeline = Pipeline::new("shop".parse().unwrap(), "dev".parse().unwrap());
    let hostile = steps::call("hostile", |cx, ()| async move {
        cx.status(ESCAPES);
        cx.warn(ESCAPES);
        cx.output(Stream::Stderr, ESCAPES);
        cx.evidence(ESCAPES, vec![ESCAPES.to_owned()]);
        let error = ecolaura_deploy_core::Error::invalid("test.hostile", ESCAPES);
        Err::<bool, _>(error.with("answer", ESCAPES).advice(ESCAPES))
    });
    pipeline.add("hostile", hostile, constant(()));
    let (recording, plain) = (Arc::new(RecordingSink::new()), Arc::new(PlainReporter::new(Vec::new(), Style::plain())));
    let sinks: [Arc<dyn EventSink>; 2] = [Arc::<RecordingSink>::clone(&recording), Arc::clone(&plain) as _];
    let runner = Runner::new(Arc::new(ObjectRunStore::memory())).events(Arc::new(FanOut::new(sinks)));
    let ran = block(async {
        let plan = runner.plan(&cx(), pipeline).await?;
        runner.run(&cx(), plan).await
    });
    ran.map_err(|error| error.report())?;
    drop(runner);
    let plain = Arc::into_inner(plain).ok_or("the reporter is still in use")?;
    Ok((String::from_utf8_lossy(&plain.into_inner()).into_owned(), recording.events()))
}

#[cfg(not(feature = "html"))]
fn pages() -> Vec<Cell> {
    super::left_out("S", "html", &["arguments/report/markup"])
}

#[cfg(feature = "html")]
fn pages() -> Vec<Cell> {
    use ecolaura_deploy_core::report::{RunReport, html};
    fn page() -> super::Sprung {
        let page = html::render(&RunReport::all_from_events(&reports()?.1));
        if page.contains("<script>alert") { Err("the page runs what a step said".to_owned()) } else { Ok(()) }
    }
    vec![trap("arguments/report/markup", page)]
}
