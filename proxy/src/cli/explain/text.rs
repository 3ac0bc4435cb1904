//! An explanation for people.

use std::fmt::Write;

use nodeway_core::snapshot::explain::{BackendReport, Explanation, MatchReport, RuleReport};

/// So many matches of other paths are shown; JSON has them all.
const MOST_OTHERS: usize = 12;

/// Lines under headings.
#[derive(Default)]
struct Page {
    text: String,
    heading: &'static str,
}

/// All of it.
pub(super) fn of(explanation: &Explanation) -> String {
    let mut page = Page::default();
    let _ = writeln!(page.text, "{}", explanation.summary);
    page.client(explanation);
    page.frontend(explanation);
    for route in &explanation.routes {
        let mark = if route.applies { "" } else { "not " };
        page.line("routes", format!("{mark}{} {}: {}", route.kind, route.route, route.why));
    }
    for report in &explanation.matches {
        page.matched("matches", report);
    }
    for report in explanation.other_paths.iter().take(MOST_OTHERS) {
        page.matched("other paths", report);
    }
    if let Some(more @ 1..) = explanation.other_paths.len().checked_sub(MOST_OTHERS) {
        page.line("other paths", format!("and {more} more: -o json"));
    }
    if let Some(rule) = &explanation.rule {
        page.rule(rule);
    }
    for backend in &explanation.backends {
        page.backend(backend);
    }
    page.text
}

// === impl Page ===

impl Page {
    /// One under `heading`, which is printed once.
    fn line(&mut self, heading: &'static str, line: impl AsRef<str>) {
        let shown = if heading == self.heading { "" } else { heading };
        self.heading = heading;
        let _ = writeln!(self.text, "{shown:<12}{}", line.as_ref());
    }

    fn client(&mut self, explanation: &Explanation) {
        let client = &explanation.client;
        let place = match (&client.node, &client.zone) {
            (Some(node), Some(zone)) => format!(", on node {node} in zone {zone}"),
            (Some(node), None) => format!(", on node {node}"),
            (None, _) => String::new(),
        };
        self.line("client", format!("Pod {}{place}", client.pod));
        if let Some(why) = &client.why {
            let note = "NOT IN THE MESH, so all this is what would happen if it were";
            self.line("client", format!("{note}: {why}"));
        }
    }

    fn frontend(&mut self, explanation: &Explanation) {
        let frontend = &explanation.frontend;
        let addresses = frontend.addresses.join(", ");
        let (service, port) = (&frontend.service, frontend.port);
        self.line("frontend", format!("Service {service}, port {port} ({addresses})"));
        self.line("frontend", format!("declared: {}", frontend.protocol));
        if let Some(path) = &frontend.path {
            self.line("frontend", format!("the path is matched and sent as {path}"));
        }
        let one =
            frontend.ways.windows(2).all(|w| (w[0].proxy, &w[0].why) == (w[1].proxy, &w[1].why));
        for way in frontend.ways.iter().take(if one { 1 } else { usize::MAX }) {
            let family = if one { String::new() } else { format!("{}: ", way.family) };
            let by = if way.proxy {
                "through the proxy"
            } else {
                "by the kernel to endpoints, without the proxy"
            };
            self.line("frontend", format!("{family}{by}: {}", way.why));
        }
    }

    fn matched(&mut self, heading: &'static str, report: &MatchReport) {
        let mark = if report.won { "->" } else { " x" };
        let name = report.name.as_deref().map(|name| format!(" ({name})")).unwrap_or_default();
        let (route, rule, place) = (&report.route, report.rule, report.place);
        let line = format!("{mark} {route}, rule {rule}{name}, match {place}: {}", report.wants);
        self.line(heading, line);
        for why in &report.why {
            self.line(heading, format!("     {why}"));
        }
    }

    fn rule(&mut self, rule: &RuleReport) {
        let name = rule.name.as_deref().map(|name| format!(" ({name})")).unwrap_or_default();
        self.line("rule", format!("{} {}, rule {}{name}", rule.kind, rule.route, rule.rule));
        for filter in &rule.filters {
            self.line("filters", filter);
        }
        let told = [
            ("becomes", &rule.becomes),
            ("answer", &rule.answer),
            ("timeout", &rule.request_timeout),
            ("each try", &rule.backend_request_timeout),
            ("retry", &rule.retry),
            ("session", &rule.session),
        ];
        for (heading, told) in told {
            if let Some(told) = told {
                self.line(heading, told);
            }
        }
    }

    fn backend(&mut self, backend: &BackendReport) {
        let share = format!("{:.1} %", backend.share * 100.0);
        let target = match (&backend.service, backend.port) {
            (Some(service), Some(port)) => format!("Service {service}, port {port}"),
            _ => "no Service".to_owned(),
        };
        let weight = backend.weight.map(|weight| format!(", weight {weight}")).unwrap_or_default();
        self.line("backends", format!("{share:>7}  {target}{weight}"));
        let told = [
            backend.invalid.as_ref().map(|why| format!("answered with 500: {why}")),
            backend.becomes.as_ref().map(|becomes| format!("becomes: {becomes}")),
            backend.answer.as_ref().map(|answer| format!("answered with {answer}")),
            backend.refused.as_ref().map(|why| format!("refused with 503: {why}")),
            backend.protocol.as_ref().map(|spoken| format!("spoken to: {spoken}")),
            backend.balancing.as_ref().map(|how| format!("chosen: {how}")),
        ];
        let policies = backend.policies.iter().map(|policy| format!("policy: {policy}"));
        let filters = backend.filters.iter().map(|filter| format!("filter: {filter}"));
        for told in told.into_iter().flatten().chain(policies).chain(filters) {
            self.line("backends", format!("         {told}"));
        }
        for endpoint in &backend.endpoints {
            let mark = if endpoint.usable { "+" } else { "-" };
            let pod = endpoint.pod.as_ref().map(|pod| format!(" Pod {pod}")).unwrap_or_default();
            let node = endpoint.node.as_ref().map(|node| format!(" on {node}")).unwrap_or_default();
            let active = match endpoint.active {
                0 => String::new(),
                active => format!(", {active} under way"),
            };
            let line = format!(
                "         {mark} {}{pod}{node}: {}{active}",
                endpoint.address, endpoint.why
            );
            self.line("backends", line);
        }
    }
}
