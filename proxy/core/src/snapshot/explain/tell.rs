//! The explanation put together.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::becomes::Passing;
use super::endpoints;
use super::filters::text;
use super::question::Dialled;
use super::{
    BackendReport, ClientReport, Explanation, FrontendReport, MatchReport, Outcome, Question,
    RouteReport, RuleReport, Unknown, WayReport,
};
use crate::balance::{Backend, Family, Millis};
use crate::model::{AppProtocol, BackendRef, BalancingAlgorithm, HttpRule, Kind, Pod, Route};
use crate::route::{Context, Matched, RequestHead, Rule, Trial, Verdict, normalised};
use crate::snapshot::serving::Place;
use crate::snapshot::{Alone, Connections, RouteKey, Snapshot, Store};

/// What an explanation is made from.
#[derive(Debug, Clone, Copy)]
pub struct Explainer<'a> {
    /// The objects.
    pub store: &'a Store,
    /// What has been made of them.
    pub snapshot: &'a Snapshot,
    /// The time, for ejections.
    pub now: Millis,
}

/// One question under way.
struct Telling<'a> {
    from: Explainer<'a>,
    question: &'a Question,
    pod: &'a Pod,
    place: Place,
    dialled: Dialled,
}

/// The rule that won, with what the manifest says of it.
struct Met<'a> {
    rule: &'a Rule,
    key: RouteKey,
    place: usize,
    matched: Option<Matched>,
    /// None of a route of L4.
    http: Option<&'a HttpRule>,
    backends: &'a [BackendRef],
}

/// Whom the routes choose.
enum Chosen<'a> {
    /// No route has a say.
    Service,
    /// Nobody.
    Nobody(&'static str),
    Rule(Met<'a>),
}

// === impl Explainer ===

impl Explainer<'_> {
    /// What would happen to this request.
    ///
    /// # Errors
    /// There is no such pod, Service or port, or it is nothing that the proxy has to do with.
    pub fn explain(&self, question: &Question) -> Result<Explanation, Unknown> {
        let pod = self.store.pod(&question.from).ok_or_else(|| {
            Unknown(format!("there is no Pod {} (a node knows its own alone)", question.from))
        })?;
        let dialled = question.dialled(self.store, self.snapshot)?;
        let zone = pod.node.as_ref().and_then(|node| self.store.node(node)?.zone.clone());
        let place = Place { node: pod.node.clone(), zone };
        Ok(Telling { from: *self, question, pod, place, dialled }.tell())
    }
}

// === impl Telling ===

impl<'a> Telling<'a> {
    fn tell(&self) -> Explanation {
        let frontend = &self.dialled.frontend;
        let namespace = &*self.question.from.namespace;
        let routed = frontend.is_routed_for(Some(namespace));
        let relayed = matches!(frontend.protocol, AppProtocol::Tcp | AppProtocol::Tls) && !routed;
        let http = self.question.is_http() && !relayed;
        let router = frontend.router(Some(namespace)).filter(|_| http);
        let path = normalised(self.question.url.path()).into_owned();
        let head = RequestHead {
            method: &self.question.method,
            path: &path,
            query: self.question.url.query(),
            headers: &self.question.headers,
            client: Some(namespace),
        };
        let trials = router.map(|router| router.explain(&head)).unwrap_or_default();
        let won = trials.iter().find(|trial| trial.verdict == Verdict::Won);
        let won = won.map(|won| (won.rule, won.place, Some(won.matched)));
        let name = self.question.url.host().map(str::to_ascii_lowercase);
        let chosen = match (router, frontend.connections(Some(namespace))) {
            (Some(_), _) => self.chosen(won, "404: routes apply, and none of them matches"),
            (None, Connections::Relayed(rule)) => self.chosen(Some((rule, 0, None)), ""),
            (None, Connections::ByName(names)) => self.chosen(
                names.rule(name.as_deref()).map(|rule| (&**rule, 0, None)),
                "reset: no TLSRoute has this server's name",
            ),
            (None, Connections::AsDeclared) if routed => {
                Chosen::Nobody("reset: routes of HTTP apply here, and nothing passes them by")
            }
            (None, Connections::AsDeclared) => Chosen::Service,
        };
        let routes = self.routes(http);
        let (others, here): (Vec<&Trial<'_>>, Vec<_>) = trials
            .iter()
            .partition(|trial| matches!(trial.verdict, Verdict::Failed { path: false, .. }));
        let context = |met: &Met<'_>| Context {
            prefix: met.matched.and_then(|matched| matched.prefix_len),
            port: frontend.port,
        };
        let mut passing = match &chosen {
            Chosen::Rule(met) => Passing::new(self.question, &path, context(met)),
            Chosen::Service | Chosen::Nobody(_) => None,
        };
        let becomes = match (&chosen, &mut passing) {
            (Chosen::Rule(met), Some(passing)) => passing.through(&met.rule.filters),
            _ => Ok(None),
        };
        let backends = match &chosen {
            Chosen::Rule(_) if becomes.is_err() => Vec::new(),
            Chosen::Rule(met) => self.shares(met, passing.as_ref()),
            Chosen::Nobody(_) => Vec::new(),
            Chosen::Service => vec![self.backend(&frontend.backend, None, 1.0)],
        };
        let (verdict, told) = verdict(&chosen, http, becomes.as_ref().err(), &backends);
        let met = match &chosen {
            Chosen::Rule(met) => Some(met),
            Chosen::Service | Chosen::Nobody(_) => None,
        };
        let client = self.client();
        let told = match met {
            Some(met) => format!("{}: {told}", name_of(met)),
            None => told,
        };
        let (verdict, summary) = match &client.why {
            Some(why) => (Outcome::NotCaught, format!("not caught, for {why}; else: {told}")),
            None => (verdict, told),
        };
        Explanation {
            verdict,
            summary,
            client,
            frontend: self.frontend(router.is_some().then_some(path.clone())),
            routes,
            rule: met.map(|met| rule(met, &path, becomes)),
            matches: here.into_iter().map(|trial| report(trial)).collect(),
            other_paths: others.into_iter().map(|trial| report(trial)).collect(),
            backends,
        }
    }

    fn client(&self) -> ClientReport {
        let in_mesh = self.from.snapshot.pods().iter().any(|pod| pod.name == self.pod.name);
        let why = match self.pod {
            _ if in_mesh => None,
            pod if pod.host_network => Some("it shares its node's network"),
            pod if pod.ended => Some("it has ended"),
            _ => Some(
                "neither it nor its Namespace has the label nodeway.dev/mesh: enabled, or it says disabled",
            ),
        };
        ClientReport {
            pod: self.pod.name.to_string(),
            node: self.place.node.as_ref().map(ToString::to_string),
            zone: self.place.zone.as_ref().map(ToString::to_string),
            in_mesh,
            why: why.map(ToOwned::to_owned),
        }
    }

    fn frontend(&self, path: Option<String>) -> FrontendReport {
        let frontend = &self.dialled.frontend;
        let service = self.from.store.service(&frontend.service);
        let ips = service.into_iter().flat_map(|s| s.cluster_ips.iter().chain(&s.external_ips));
        let ips: Vec<IpAddr> = ips.copied().collect();
        let families = [(Family::V4, "IPv4"), (Family::V6, "IPv6")].into_iter();
        let dialled = families.filter(|(f, _)| ips.iter().any(|ip| Family::of(*ip) == *f));
        FrontendReport {
            service: frontend.service.to_string(),
            port: frontend.port,
            addresses: ips
                .iter()
                .map(|ip| SocketAddr::new(*ip, frontend.port).to_string())
                .collect(),
            protocol: protocol(frontend.protocol).to_owned(),
            path,
            ways: dialled.map(|(family, name)| way(name, frontend.alone(family))).collect(),
        }
    }

    /// The routes that name the Service as a parent, those that apply first.
    fn routes(&self, http: bool) -> Vec<RouteReport> {
        let service = &self.dialled.frontend.service;
        let routes = self.from.store.routes().filter_map(|(key, route)| {
            let parents = route.parents.iter().enumerate().filter(|(_, p)| p.service == *service);
            let mut told = parents.map(|(place, _)| self.standing(key, route, place, http));
            let first = told.next()?;
            Some(told.fold(first, |best, next| if best.applies { best } else { next }))
        });
        let mut routes: Vec<RouteReport> = routes.collect();
        routes.sort_by_key(|route| !route.applies);
        routes
    }

    /// Whether and why the route applies by this one of its parents.
    fn standing(&self, key: &RouteKey, route: &Route, parent: usize, http: bool) -> RouteReport {
        let frontend = &self.dialled.frontend;
        let (service, client) = (&frontend.service, &self.question.from.namespace);
        let own = route.name.namespace == service.namespace;
        let wanted = route.parents.get(parent);
        let section = self.from.store.service(service).and_then(|service| {
            service.ports.iter().find(|p| p.port == frontend.port).map(|p| Arc::clone(&p.name))
        });
        let other_port = wanted.is_some_and(|p| {
            p.port.is_some_and(|port| port != frontend.port)
                || p.section.as_ref().is_some_and(|name| Some(name) != section.as_ref())
        });
        let status = self.from.snapshot.route_status(key);
        let verdict = status.and_then(|status| {
            let of = status.parents.iter().find(|verdict| Some(&verdict.parent) == wanted);
            of.map(|verdict| verdict.accepted.clone())
        });
        let (applies, why) = match verdict {
            Some(Err((reason, why))) => (false, format!("not accepted ({reason:?}): {why}")),
            _ if other_port => (false, "for another port".to_owned()),
            _ if !http && matches!(key.0, Kind::HttpRoute | Kind::GrpcRoute) => {
                (false, "what is not HTTP is not matched".to_owned())
            }
            _ if !own && route.name.namespace != *client => {
                (false, format!("for clients of namespace {}", route.name.namespace))
            }
            _ if own && frontend.has_own_routes_for(Some(client)) => {
                (false, format!("routes of namespace {client} stand instead of it"))
            }
            _ if own => (true, "for all clients".to_owned()),
            _ => (true, format!("for clients of namespace {client}, instead of the Service's own")),
        };
        RouteReport { kind: key.0.to_string(), route: key.1.to_string(), applies, why }
    }

    fn chosen(
        &self,
        rule: Option<(&'a Rule, usize, Option<Matched>)>,
        otherwise: &'static str,
    ) -> Chosen<'a> {
        let met = rule.and_then(|(rule, place, matched)| self.met(rule, place, matched));
        met.map_or(Chosen::Nobody(otherwise), Chosen::Rule)
    }

    /// The rule as the manifest has it.
    fn met(&self, rule: &'a Rule, place: usize, matched: Option<Matched>) -> Option<Met<'a>> {
        let key = (rule.kind, rule.route.clone());
        let route = self.from.store.route(&key)?;
        let http = route.rules.http().get(place);
        let l4 = || Some(&*route.rules.l4().get(place)?.backends);
        let backends = http.map(|spec| &*spec.backends).or_else(l4)?;
        Some(Met { rule, key, place, matched, http, backends })
    }

    /// The backends of a rule.
    fn shares(&self, met: &Met<'_>, passing: Option<&Passing>) -> Vec<BackendReport> {
        let total: f64 = met.backends.iter().map(|b| f64::from(b.weight)).sum();
        let mut shares = met.rule.shares();
        let mut reports = Vec::new();
        for backend in met.backends {
            let share = if total > 0.0 { f64::from(backend.weight) / total } else { 0.0 };
            let compiled = if backend.weight > 0 { shares.next() } else { None };
            reports.push(match compiled {
                Some(Ok(weighted)) => {
                    let mut report = self.backend(&weighted.backend, Some(backend), share);
                    let becomes = passing.map(|p| p.clone().through(&weighted.filters));
                    match becomes {
                        Some(Ok(becomes)) => report.becomes = becomes,
                        Some(Err(answer)) => report.answer = Some(answer),
                        None => {}
                    }
                    report
                }
                Some(Err(why)) => nobody(backend, share, Some(why)),
                None => nobody(backend, share, None),
            });
        }
        reports
    }

    fn backend(&self, backend: &Backend, spec: Option<&BackendRef>, share: f64) -> BackendReport {
        let external = spec.is_none() && self.dialled.external;
        let algorithm = match backend.algorithm() {
            BalancingAlgorithm::PeakEwma => "the quicker and less loaded of two drawn at random",
            BalancingAlgorithm::LeastRequest => "the less loaded of two drawn at random",
            BalancingAlgorithm::RoundRobin => "each in turn",
            BalancingAlgorithm::Random => "at random",
            BalancingAlgorithm::RingHash => "by a ring of hashes",
            BalancingAlgorithm::Maglev => "by Maglev's table of hashes",
        };
        let sticky = backend.affinity().map(|span| format!(", a client's own for {span:?}"));
        let Explainer { store, now, .. } = self.from;
        BackendReport {
            service: Some(backend.service.to_string()),
            port: Some(backend.port),
            weight: spec.map(|spec| spec.weight),
            share,
            invalid: None,
            filters: spec.map(|spec| spec.filters.iter().map(text).collect()).unwrap_or_default(),
            becomes: None,
            answer: None,
            // A client that speaks TLS itself knows whom it trusts.
            refused: backend.tls().filter(|_| !self.question.is_tls()).and_then(|tls| {
                let why = tls.terms.as_ref().err()?;
                Some(format!("BackendTLSPolicy {}: {why}", tls.policy))
            }),
            protocol: Some(spoken(backend)),
            balancing: Some(format!("{algorithm}{}", sticky.unwrap_or_default())),
            policies: store.backends.told(store, &backend.service, backend.port),
            endpoints: endpoints::reports(store, &self.place, backend, external, now),
        }
    }
}

/// A share that goes nowhere; one of weight 0 gets nothing that could be refused.
fn nobody(backend: &BackendRef, share: f64, why: Option<&str>) -> BackendReport {
    use crate::model::BackendTarget;
    let (service, port) = match &backend.target {
        BackendTarget::Service { service, port } => (Some(service.to_string()), Some(*port)),
        BackendTarget::Invalid { .. } => (None, None),
    };
    BackendReport {
        service,
        port,
        weight: Some(backend.weight),
        share,
        invalid: why.map(ToOwned::to_owned),
        filters: backend.filters.iter().map(text).collect(),
        becomes: None,
        answer: None,
        refused: None,
        protocol: None,
        balancing: None,
        policies: Vec::new(),
        endpoints: Vec::new(),
    }
}

fn rule(met: &Met<'_>, path: &str, becomes: Result<Option<String>, String>) -> RuleReport {
    let (becomes, answer) = match becomes {
        Ok(becomes) => (becomes, None),
        Err(answer) => (None, Some(answer)),
    };
    let Met { key, place, http, .. } = met;
    let timeouts = met.rule.timeouts;
    let matched = met.matched.and_then(|matched| path.get(..matched.prefix_len?));
    RuleReport {
        kind: key.0.to_string(),
        route: key.1.to_string(),
        rule: *place,
        name: met.rule.name.as_deref().map(Into::into),
        matched_prefix: matched
            .map(|prefix| if prefix.is_empty() { "/" } else { prefix }.to_owned()),
        filters: http.map(|spec| spec.filters.iter().map(text).collect()).unwrap_or_default(),
        request_timeout: timeouts.request.map(|span| format!("{span:?}")),
        backend_request_timeout: timeouts.backend_request.map(|span| format!("{span:?}")),
        retry: met.rule.retry.as_ref().map(|retry| {
            let codes: Vec<String> = retry.codes.iter().map(|c| c.as_u16().to_string()).collect();
            let attempts = retry.attempts.map(|n| format!("up to {n} times, "));
            let backoff = retry.backoff.map(|span| format!(", after {span:?} at least"));
            format!(
                "{}on connection errors{}{}{}",
                attempts.unwrap_or_default(),
                if codes.is_empty() { "" } else { " and " },
                codes.join(" "),
                backoff.unwrap_or_default()
            )
        }),
        session: met.rule.persistence.as_ref().map(|session| {
            let name = session.name.as_deref().unwrap_or("a name of ours");
            format!("{:?} {name}", session.carrier)
        }),
        becomes,
        answer,
    }
}

fn report(trial: &Trial<'_>) -> MatchReport {
    MatchReport {
        route: trial.rule.route.to_string(),
        rule: trial.place,
        name: trial.rule.name.as_deref().map(Into::into),
        place: trial.matched.place,
        wants: trial.wants.clone(),
        won: trial.verdict == Verdict::Won,
        why: match &trial.verdict {
            Verdict::Won => Vec::new(),
            Verdict::Outranked(why) => vec![format!("the other goes before it: {why}")],
            Verdict::Failed { why, .. } => why.clone(),
        },
    }
}

fn name_of(met: &Met<'_>) -> String {
    let name = met.rule.name.as_deref().map(|name| format!(" ({name})")).unwrap_or_default();
    format!("{} {}, rule {}{name}", met.key.0, met.key.1, met.place)
}

/// What happens, as one of a few and as a sentence; `http`: it is a request, and read as one.
fn verdict(
    chosen: &Chosen<'_>,
    http: bool,
    answer: Option<&String>,
    backends: &[BackendReport],
) -> (Outcome, String) {
    match chosen {
        Chosen::Nobody(why) => return (Outcome::Refused, (*why).to_owned()),
        Chosen::Rule(met) => {
            if let Some(why) = met.rule.invalid() {
                return (Outcome::Refused, format!("500: {why}"));
            }
            if let Some(answer) = answer {
                return (Outcome::Answered, format!("answered with {answer}"));
            }
        }
        Chosen::Service => {}
    }
    let refused = |status: &str, why: &str| {
        (Outcome::Refused, format!("{}: {why}", if http { status } else { "reset" }))
    };
    let sharing: Vec<&BackendReport> = backends.iter().filter(|b| b.share > 0.0).collect();
    let usable = |b: &&BackendReport| b.refused.is_none() && b.endpoints.iter().any(|e| e.usable);
    let takes = |b: &&BackendReport| b.answer.is_some() || usable(b);
    let to = |b: &&BackendReport| {
        let (service, port) =
            (b.service.as_deref().unwrap_or_default(), b.port.unwrap_or_default());
        let to = match &b.answer {
            Some(answer) => format!("answered with {answer}"),
            None => format!("to Service {service}, port {port}"),
        };
        match sharing.len() {
            0 | 1 => to,
            _ => format!("{to} ({:.1} %)", b.share * 100.0),
        }
    };
    let good: Vec<&BackendReport> = sharing.iter().copied().filter(takes).collect();
    let told = good.iter().map(to).collect::<Vec<_>>().join(" or ");
    match (good.len(), sharing.len()) {
        (0, 0) => refused("500", "the rule has no backend with a weight above 0"),
        (0, _) if sharing.iter().all(|b| b.invalid.is_some()) => {
            refused("500", "no backend is a usable reference")
        }
        (0, _) => match sharing.iter().find_map(|b| b.refused.as_deref()) {
            Some(why) => refused("503", why),
            None => refused("503", "no endpoint is ready"),
        },
        (n, all) if n < all => (Outcome::PartlySent, format!("{told}; the rest is refused")),
        _ if good.iter().all(|b| b.answer.is_some()) => (Outcome::Answered, told),
        _ => (Outcome::Sent, told),
    }
}

fn way(family: &str, alone: Result<Alone, &'static str>) -> WayReport {
    let nobody = "octets are relayed as they are, and nobody has to look after them";
    let (proxy, why) = alone.map_or_else(|why| (true, why), |_| (false, nobody));
    WayReport { family: family.to_owned(), proxy, why: why.to_owned() }
}

fn protocol(protocol: AppProtocol) -> &'static str {
    match protocol {
        AppProtocol::Detect => "not declared: found out by who speaks first, and what",
        AppProtocol::Http => "HTTP",
        AppProtocol::Http1 => "HTTP/1.1",
        AppProtocol::Http2 => "HTTP/2",
        AppProtocol::Tls => "TLS: relayed as it is",
        AppProtocol::Tcp => "TCP: relayed as it is",
    }
}

fn spoken(backend: &Backend) -> String {
    let spoken = match backend.protocol {
        AppProtocol::Detect | AppProtocol::Http => "as the client speaks",
        AppProtocol::Http1 => "HTTP/1.1",
        AppProtocol::Http2 => "HTTP/2",
        AppProtocol::Tls | AppProtocol::Tcp => "relayed as it is",
    };
    match backend.tls().map(|tls| (&tls.policy, &tls.terms)) {
        None => spoken.to_owned(),
        Some((policy, Ok(terms))) => {
            format!("{spoken}, in TLS as {} (BackendTLSPolicy {policy})", terms.hostname)
        }
        Some((policy, Err(why))) => format!("not at all: BackendTLSPolicy {policy}: {why}"),
    }
}
