//! A diagnosis as text for a tired person: 80 columns, the worst first.

use std::fmt::{self, Write as _};

use super::{
    ContainerReport, Diagnosis, EventReport, Health, LogReport, NodeReport, Part, PodReport, ServiceReport, Usage,
    WorkloadReport,
};

const WIDTH: usize = 80;

/// Lines of a log and events that are shown; the value has more.
const LOG: usize = 15;
const EVENTS: usize = 15;
const TOP: usize = 5;

impl Health {
    fn mark(self) -> char {
        match self {
            Self::Broken => '✗',
            Self::Waiting | Self::Shaky => '!',
            Self::Ending => '–',
            Self::Fine | Self::Done => '✓',
        }
    }
}

/// What is written so far.
struct Page<'a, 'b>(&'a mut fmt::Formatter<'b>);

impl Page<'_, '_> {
    /// A text, wrapped between words; what follows the first line stands further in.
    fn wrapped(&mut self, indent: usize, text: &str) -> fmt::Result {
        let text = &short(text);
        let (mut line, mut width) = (" ".repeat(indent), indent);
        let mut empty = true;
        for word in text.split_whitespace().flat_map(|word| pieces(word, WIDTH - indent - 2)) {
            let length = word.chars().count();
            if !empty && width + 1 + length > WIDTH {
                writeln!(self.0, "{}", line.trim_end())?;
                (line, width, empty) = (" ".repeat(indent + 2), indent + 2, true);
            }
            if !empty {
                line.push(' ');
                width += 1;
            }
            line.push_str(&word);
            (width, empty) = (width + length, false);
        }
        if empty { Ok(()) } else { writeln!(self.0, "{line}") }
    }

    fn title(&mut self, text: &str) -> fmt::Result {
        writeln!(self.0, "\n{text}")
    }

    /// A line as it was printed, over as many lines as it takes.
    fn raw(&mut self, indent: usize, text: &str) -> fmt::Result {
        for piece in pieces(text, WIDTH - indent - 2) {
            writeln!(self.0, "{}| {piece}", " ".repeat(indent))?;
        }
        Ok(())
    }
}

/// The digests in it by their beginnings, as people compare them.
fn short(text: &str) -> String {
    let mut parts = text.split("sha256:");
    let mut short = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let digits = part.bytes().take_while(u8::is_ascii_hexdigit).count();
        let shown = if digits == 64 { 12 } else { digits };
        _ = write!(short, "sha256:{}{}", &part[..shown], &part[digits..]);
    }
    short
}

/// Pieces of at most so many characters.
fn pieces(text: &str, width: usize) -> Vec<String> {
    let chars: Vec<char> = text.chars().collect();
    if chars.is_empty() {
        return vec![String::new()];
    }
    chars.chunks(width.max(1)).map(|chunk| chunk.iter().collect()).collect()
}

impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut page = Page(f);
        page.wrapped(0, &format!("{}: {}", self.selection, self.summary()))?;
        let server = self.server.as_deref().unwrap_or("a server that does not tell its version");
        let user = self.user.as_deref().filter(|user| !user.is_empty()).unwrap_or("somebody");
        page.wrapped(0, &format!("{server}, as {user}, {}", self.at))?;
        self.pods(&mut page)?;
        page.workloads(&self.workloads, self.pods.items())?;
        page.services(self.services.items())?;
        page.usage(self.usage.items())?;
        page.nodes(self.nodes.items())?;
        page.events(self.events.items())?;
        self.unknown(&mut page)?;
        if !self.next.is_empty() {
            page.title("Next")?;
            self.next.iter().try_for_each(|next| page.wrapped(2, &format!("> {next}")))?;
        }
        Ok(())
    }
}

impl Diagnosis {
    /// `1 of 3 pods is broken`
    fn summary(&self) -> String {
        let Some(pods) = self.pods.known() else { return "its pods could not be read".to_owned() };
        let count = pods.len() + self.pods_left_out;
        let broken = pods.iter().filter(|pod| pod.health == Health::Broken).count();
        let waiting = pods.iter().filter(|pod| pod.health == Health::Waiting).count();
        let workload = self.workloads.iter().find(|workload| workload.health == Health::Broken);
        match (count, broken, waiting) {
            (0, ..) => workload.map_or("there are no pods".to_owned(), |workload| {
                format!("there are no pods; {} {}: {}", workload.kind, workload.name, workload.headline)
            }),
            (_, 0, 0) if workload.is_some() => "all pods are ready, and still something is broken".to_owned(),
            (1, 0, 0) => "its pod is ready".to_owned(),
            (count, 0, 0) => format!("all {count} pods are ready"),
            (count, 0, waiting) => format!("{waiting} of {count} pods not ready yet"),
            (count, 1, _) => format!("1 of {count} pods is broken"),
            (count, broken, _) => format!("{broken} of {count} pods are broken"),
        }
    }

    fn pods(&self, page: &mut Page<'_, '_>) -> fmt::Result {
        let Some(pods) = self.pods.known().filter(|pods| !pods.is_empty()) else { return Ok(()) };
        page.title("Pods")?;
        for pod in pods {
            page.pod(pod, self.usage.items())?;
        }
        match self.pods_left_out {
            0 => Ok(()),
            1 => page.wrapped(0, "and 1 more, not more broken"),
            more => page.wrapped(0, &format!("and {more} more, none more broken")),
        }
    }

    /// What is missing, and why.
    fn unknown(&self, page: &mut Page<'_, '_>) -> fmt::Result {
        let parts = [
            ("pods", self.pods.why()),
            ("services", self.services.why()),
            ("usage", self.usage.why()),
            ("nodes", self.nodes.why()),
            ("events", self.events.why()),
        ];
        let parts = parts.into_iter().filter_map(|(part, why)| Some(format!("{part}: {}", why?)));
        let missing: Vec<String> = parts.chain(self.left_out.iter().cloned()).collect();
        if missing.is_empty() {
            return Ok(());
        }
        page.title("Not known")?;
        missing.iter().try_for_each(|line| page.wrapped(2, line))
    }
}

impl Page<'_, '_> {
    fn pod(&mut self, pod: &PodReport, usage: &[Usage]) -> fmt::Result {
        self.wrapped(0, &format!("{} {}: {}", pod.health.mark(), pod.name, pod.headline))?;
        if pod.health > Health::Shaky {
            return Ok(());
        }
        self.wrapped(4, &facts(pod, usage))?;
        for container in &pod.containers {
            self.container(container, pod.containers.len() > 1)?;
        }
        Ok(())
    }

    fn container(&mut self, container: &ContainerReport, many: bool) -> fmt::Result {
        let name = &container.name;
        if many || !container.ready {
            let last = container.last_end.as_ref().map(|end| format!(", before that ended with {end}"));
            self.wrapped(4, &format!("container {name}: {}{}", container.state, last.unwrap_or_default()))?;
        }
        if container.ready && !many {
            return self.log(&format!("{name} printed"), &container.log);
        }
        if let Some(previous) = &container.previous {
            self.log(&format!("{name} before its restart printed"), previous)?;
        }
        if !container.ready {
            self.log(&format!("{name} printed"), &container.log)?;
        }
        Ok(())
    }

    fn log(&mut self, title: &str, log: &Part<LogReport>) -> fmt::Result {
        match log {
            // Its state says that already.
            Part::Unknown { why } if why == "it has not started" => Ok(()),
            Part::Unknown { why } => self.wrapped(4, &format!("{title}: not known, {why}")),
            Part::Known(log) if log.lines.is_empty() => self.wrapped(4, &format!("{title} nothing")),
            Part::Known(log) => {
                let from = log.lines.len().saturating_sub(LOG);
                let of =
                    if from > 0 { format!(" (the last {LOG} of {} lines)", log.lines.len()) } else { String::new() };
                self.wrapped(4, &format!("{title}{of}:"))?;
                log.lines[from..].iter().try_for_each(|line| self.raw(6, line))
            }
        }
    }

    fn workloads(&mut self, workloads: &[WorkloadReport], pods: &[PodReport]) -> fmt::Result {
        if workloads.is_empty() {
            return Ok(());
        }
        self.title("Workloads")?;
        for workload in workloads {
            let WorkloadReport { kind, name, headline, ready, wanted, .. } = workload;
            // What its pod says stands there already.
            let pod = pods.iter().find(|pod| pod.health == Health::Broken && pod.headline == *headline);
            let why = pod.map_or(headline.clone(), |pod| format!("because of Pod {}", pod.name));
            self.wrapped(0, &format!("{} {kind} {name}: {ready} of {wanted} ready; {why}", workload.health.mark()))?;
            if workload.health <= Health::Waiting {
                let inner = workload.chain.iter().skip(1).take(workload.chain.len().saturating_sub(2));
                let inner = inner.filter(|_| pod.is_none());
                inner
                    .chain(&workload.conditions)
                    .chain(&workload.revisions)
                    .try_for_each(|line| self.wrapped(4, line))?;
            }
        }
        Ok(())
    }

    fn services(&mut self, services: &[ServiceReport]) -> fmt::Result {
        if services.is_empty() {
            return Ok(());
        }
        self.title("Services")?;
        for service in services {
            let mark = if service.problem.is_some() { '✗' } else { '✓' };
            let ports = service.ports.join(", ");
            let ready = format!("{} ready, {} not", service.ready, service.not_ready);
            let problem = service.problem.as_ref().map(|problem| format!("; {problem}")).unwrap_or_default();
            self.wrapped(0, &format!("{mark} {} ({ports}): {ready}{problem}", service.name))?;
        }
        Ok(())
    }

    fn usage(&mut self, usage: &[Usage]) -> fmt::Result {
        if usage.is_empty() {
            return Ok(());
        }
        self.title("Most used")?;
        for used in usage.iter().take(TOP) {
            let what = format!("{} {}", used.pod, used.container);
            self.wrapped(2, &format!("{}m CPU, {} memory: {what}", used.cpu, mebibytes(used.memory)))?;
        }
        Ok(())
    }

    fn nodes(&mut self, nodes: &[NodeReport]) -> fmt::Result {
        if nodes.is_empty() {
            return Ok(());
        }
        self.title("Nodes")?;
        for node in nodes {
            let percent = |name: &str, share: Option<u8>| share.map(|share| format!("{name} {share} %"));
            let used = [percent("CPU", node.cpu), percent("memory", node.memory)].into_iter().flatten();
            let state = if node.problems.is_empty() { "ready".to_owned() } else { node.problems.join("; ") };
            let all = std::iter::once(state).chain(used).collect::<Vec<_>>().join(", ");
            self.wrapped(0, &format!("{} {}: {all}", node.health.mark(), node.name))?;
        }
        Ok(())
    }

    fn events(&mut self, events: &[EventReport]) -> fmt::Result {
        if events.is_empty() {
            return Ok(());
        }
        self.title("Events, the newest last")?;
        for event in &events[events.len().saturating_sub(EVENTS)..] {
            let time = event.at.get(11..19).unwrap_or(&event.at);
            let count = if event.count > 1 { format!(" ×{}", event.count) } else { String::new() };
            let mark = if event.kind == "Warning" { "! " } else { "" };
            let EventReport { reason, object, message, .. } = event;
            self.wrapped(2, &format!("{time} {mark}{reason}{count}, {object}: {message}"))?;
        }
        Ok(())
    }
}

/// `0 of 1 ready, 12 restarts, 3 min old, on node-1, 5m CPU, 12 MiB`
fn facts(pod: &PodReport, usage: &[Usage]) -> String {
    let mut facts = format!("{}, {} of {} ready", pod.phase, pod.ready, pod.containers.len());
    if pod.restarts > 0 {
        _ = write!(facts, ", {} restart{}", pod.restarts, if pod.restarts == 1 { "" } else { "s" });
    }
    _ = write!(facts, ", {} old", age(pod.age));
    if let Some(node) = &pod.node {
        _ = write!(facts, ", on {node}");
    }
    let own: Vec<&Usage> = usage.iter().filter(|used| used.pod == pod.name).collect();
    if !own.is_empty() {
        let (cpu, memory) = own.iter().fold((0, 0), |(cpu, memory), used| (cpu + used.cpu, memory + used.memory));
        _ = write!(facts, ", {cpu}m CPU, {}", mebibytes(memory));
    }
    facts
}

fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes.div_ceil(1024 * 1024))
}

fn age(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}
