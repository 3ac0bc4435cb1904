//! A rule's or a backend reference's filters, compiled: what they do to requests and responses, in the
//! order of the manifest.
//!
//! Not who runs them, nor how a mirrored copy is sent: `nodeway::serve` does that.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Request, Response};

use super::cors::CorsPolicy;
use super::rewrite::Rewriter;
use crate::balance::Backend;
use crate::model::{BackendTarget, Filter, HeaderModifier, Mirror, Redirect};

/// Filters, in order.
#[derive(Debug, Default)]
pub struct Plan {
    steps: Box<[Step]>,
    invalid: Option<Arc<str>>,
    cors: bool,
}

/// One filter.
#[derive(Debug)]
pub enum Step {
    /// Changes a request's headers.
    RequestHeaders(HeaderModifier),
    /// Changes a response's headers.
    ResponseHeaders(HeaderModifier),
    /// Answers with another place to ask.
    Redirect(Redirect),
    /// Changes a request's host or path.
    Rewrite(Rewriter),
    /// Sends a copy to somebody else too.
    Mirror(MirrorTo),
    /// Answers browsers' preflight questions, and tells them what they may read.
    Cors(Box<CorsPolicy>),
}

/// To whom copies go.
#[derive(Debug)]
pub struct MirrorTo {
    /// The backend; or why there is none, and no copy is made.
    pub target: Result<Arc<Backend>, Arc<str>>,
    /// Which share of the requests, from 0 to 1, as a fraction.
    pub share: (u32, u32),
}

/// What filters know of a request besides what it says.
#[derive(Debug, Clone, Copy)]
pub struct Context {
    /// How many octets of the path the match named, or what a rewrite has put in their place; see
    /// [`Matched::prefix_len`](super::Matched). None after a rewrite of the whole path.
    pub prefix: Option<usize>,
    /// The port that was dialled.
    pub port: u16,
}

// === impl Plan ===

impl Plan {
    /// The plan for `filters`; `resolve` finds the backends that mirrors name.
    pub fn new(
        filters: &[Filter],
        mut resolve: impl FnMut(&BackendTarget) -> Result<Arc<Backend>, Arc<str>>,
    ) -> Self {
        let mut invalid = None;
        let mut steps = Vec::with_capacity(filters.len());
        for filter in filters {
            steps.push(match filter {
                Filter::RequestHeaders(m) => Step::RequestHeaders(m.clone().first_of_each_name()),
                Filter::ResponseHeaders(m) => Step::ResponseHeaders(m.clone().first_of_each_name()),
                Filter::Redirect(redirect) => Step::Redirect(redirect.clone()),
                Filter::Rewrite(rewrite) => Step::Rewrite(Rewriter::new(rewrite)),
                Filter::Mirror(Mirror { target, share }) => {
                    Step::Mirror(MirrorTo { target: resolve(target), share: *share })
                }
                Filter::Cors(cors) => Step::Cors(Box::new(CorsPolicy::new(cors))),
                Filter::Invalid { message, .. } => {
                    invalid.get_or_insert_with(|| Arc::clone(message));
                    continue;
                }
            });
        }
        let cors = steps.iter().any(|step| matches!(step, Step::Cors(_)));
        Self { steps: steps.into(), invalid, cors }
    }

    /// The filters in order, without those that are not understood.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Why requests are answered with 500 instead, if one of the filters is not understood.
    #[inline]
    pub fn invalid(&self) -> Option<&Arc<str>> {
        self.invalid.as_ref()
    }

    /// Whether [`Plan::response`] must be told the request's `Origin`.
    #[inline]
    pub fn wants_origin(&self) -> bool {
        self.cors
    }

    /// Does to `request` what the filters say, one after the other, up to the one that answers it.
    /// `mirror` is told of each mirror, and the request as it is when its turn comes. `context` is that of
    /// the request as it has become, for the plan after this one.
    #[inline]
    pub fn request<B>(
        &self,
        request: &mut Request<B>,
        context: &mut Context,
        mut mirror: impl FnMut(&MirrorTo, &Request<B>),
    ) -> Option<Response<()>> {
        for step in &self.steps {
            match step {
                Step::RequestHeaders(modifier) => modifier.apply(request.headers_mut()),
                Step::Rewrite(rewriter) => rewriter.apply(request, context),
                Step::Mirror(to) => mirror(to, request),
                Step::Redirect(redirect) => return Some(redirect.answer(request, *context)),
                Step::Cors(policy) => {
                    let answer = policy.preflight(request);
                    if answer.is_some() {
                        return answer;
                    }
                }
                Step::ResponseHeaders(_) => {}
            }
        }
        None
    }

    /// Does to a response's headers what the filters say. `origin`: the request's, see
    /// [`Plan::wants_origin`].
    #[inline]
    pub fn response(&self, headers: &mut HeaderMap, origin: Option<&HeaderValue>) {
        for step in &self.steps {
            match step {
                Step::ResponseHeaders(modifier) => modifier.apply(headers),
                Step::Cors(policy) => policy.response(origin, headers),
                Step::RequestHeaders(_)
                | Step::Redirect(_)
                | Step::Rewrite(_)
                | Step::Mirror(_) => {}
            }
        }
    }
}

// === impl MirrorTo ===

impl MirrorTo {
    /// The backend that gets a copy of a request, if this one is to be copied. `random` is uniform over
    /// all of `u64`: then the share is exact but for 2^-32.
    #[inline]
    pub fn chosen(&self, random: u64) -> Option<&Arc<Backend>> {
        let (part, whole) = self.share;
        let place = (u128::from(random) * u128::from(whole)) >> 64;
        self.target.as_ref().ok().filter(|_| place < u128::from(part))
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, Method, StatusCode};

    use super::*;
    use crate::model::{
        AllowedOrigin, AppProtocol, Cors, ObjectName, PathModifier, RefFault, Rewrite,
    };

    fn backend() -> Arc<Backend> {
        let (lasting, port) = (crate::balance::Lasting::new(1), (ObjectName::new("shop", "a"), 80));
        Arc::new(Backend::new(
            lasting,
            port,
            AppProtocol::Http1,
            None,
            Vec::<crate::balance::Member>::new(),
        ))
    }

    fn set(name: &'static str, value: &'static str) -> HeaderModifier {
        let entry = (HeaderName::from_static(name), HeaderValue::from_static(value));
        HeaderModifier { set: vec![entry], ..HeaderModifier::default() }
    }

    fn plan(filters: &[Filter]) -> Plan {
        Plan::new(filters, |target| match target {
            BackendTarget::Service { .. } => Ok(backend()),
            BackendTarget::Invalid { message, .. } => Err(Arc::clone(message)),
        })
    }

    fn mirror(name: &str, share: (u32, u32)) -> Filter {
        let service = ObjectName::new("shop", name);
        Filter::Mirror(Mirror { target: BackendTarget::Service { service, port: 80 }, share })
    }

    fn rewrite(path: &str) -> Filter {
        Filter::Rewrite(Rewrite { hostname: None, path: Some(PathModifier::Full(path.into())) })
    }

    const CONTEXT: Context = Context { prefix: Some(0), port: 80 };

    #[test]
    fn filters_work_in_their_order() {
        let plan = plan(&[
            mirror("a", (1, 1)),
            Filter::RequestHeaders(set("host", "one")),
            mirror("a", (1, 1)),
            Filter::Rewrite(Rewrite {
                hostname: Some(HeaderValue::from_static("two")),
                path: Some(PathModifier::Full("/new".into())),
            }),
            mirror("a", (1, 1)),
        ]);
        let mut seen = Vec::new();
        let mut request = Request::get("/old").header("host", "web").body(()).unwrap();
        let answer = plan.request(&mut request, &mut CONTEXT.clone(), |_, request| {
            let host = request.headers()["host"].to_str().unwrap().to_owned();
            seen.push(format!("{host}{}", request.uri()));
        });
        assert!(answer.is_none());
        assert_eq!(seen, ["web/old", "one/old", "two/new"]);
    }

    #[test]
    fn a_prefix_is_what_the_filters_before_have_made_of_it() {
        let full = |path: &str| PathModifier::Full(path.into());
        let prefix = |path: &str| PathModifier::Prefix(path.into());
        for (rule, of_backend, expected) in [
            (full("/v2/items"), prefix("/x"), "/v2/items"),
            (prefix("/v2/items"), prefix("/x"), "/x/b"),
            (prefix("/v2/"), prefix("/x"), "/x/b"),
            (prefix("/"), prefix("/x"), "/x/b"),
            (prefix("/v2"), full("/x"), "/x"),
        ] {
            let one = |path| plan(&[Filter::Rewrite(Rewrite { hostname: None, path: Some(path) })]);
            let mut request = Request::get("/api/b").body(()).unwrap();
            let mut context = Context { prefix: Some(4), port: 80 };
            for plan in [one(rule), one(of_backend)] {
                assert!(plan.request(&mut request, &mut context, |_, _| {}).is_none());
            }
            assert_eq!(request.uri().path(), expected);
        }
    }

    #[test]
    fn the_first_answer_is_the_answer() {
        let redirect = Filter::Redirect(Redirect {
            scheme: None,
            hostname: Some("elsewhere".into()),
            port: None,
            path: None,
            status: StatusCode::FOUND,
        });
        let cors = Filter::Cors(Cors { origins: vec![AllowedOrigin::Any], ..Cors::default() });
        let preflight = || {
            let request = Request::options("/x").header("origin", "https://a");
            request.header("access-control-request-method", "GET").body(()).unwrap()
        };
        let nobody = |_: &MirrorTo, _: &Request<()>| panic!("a mirror behind an answer");
        let first = plan(&[redirect.clone(), cors.clone(), mirror("a", (1, 1))]);
        let answer = first.request(&mut preflight(), &mut CONTEXT.clone(), nobody).unwrap();
        assert_eq!(answer.status(), 302);
        let first = plan(&[cors, redirect, mirror("a", (1, 1))]);
        let answer = first.request(&mut preflight(), &mut CONTEXT.clone(), nobody).unwrap();
        assert_eq!(answer.status(), 200);
        let mut get = Request::new(());
        *get.method_mut() = Method::GET;
        assert_eq!(first.request(&mut get, &mut CONTEXT.clone(), nobody).unwrap().status(), 302);
        assert!(first.wants_origin());
    }

    #[test]
    fn a_filter_that_is_not_understood_makes_the_plan_invalid() {
        let invalid = |text: &str| Filter::Invalid { message: text.into(), fault: None };
        let plan = plan(&[rewrite("/x"), invalid("first"), invalid("second")]);
        assert_eq!(plan.invalid().map(|why| &**why), Some("first"));
        assert!(Plan::default().invalid().is_none());
    }

    #[test]
    fn a_mirrors_share_is_kept_on_average() {
        let mut random = fastrand::Rng::with_seed(5);
        for share in [(0, 1), (1, 3), (25, 100), (999, 1000), (1, 1), (u32::MAX, u32::MAX)] {
            let plan = plan(&[mirror("a", share)]);
            let [Step::Mirror(to)] = plan.steps() else { panic!() };
            let copies = (0..100_000).filter(|_| to.chosen(random.u64(..)).is_some()).count();
            let wanted = f64::from(share.0) / f64::from(share.1);
            assert!((copies as f64 / 1e5 - wanted).abs() < 0.005, "{share:?}: {copies}");
            assert!(wanted > 0.0 || to.chosen(0).is_none());
            assert!(wanted < 1.0 || to.chosen(u64::MAX).is_some());
        }
    }

    #[test]
    fn a_mirror_to_nobody_makes_no_copy() {
        let target =
            BackendTarget::Invalid { fault: RefFault::InvalidKind, message: "a Bucket".into() };
        let plan = plan(&[Filter::Mirror(Mirror { target, share: (1, 1) })]);
        let [Step::Mirror(to)] = plan.steps() else { panic!() };
        assert!(to.chosen(0).is_none());
        assert!(plan.invalid().is_none());
    }

    #[test]
    fn responses_are_changed_in_order_too() {
        let plan = plan(&[
            Filter::ResponseHeaders(set("x-a", "1")),
            Filter::RequestHeaders(set("x-a", "2")),
            Filter::ResponseHeaders(set("x-b", "3")),
        ]);
        let mut headers = HeaderMap::new();
        plan.response(&mut headers, None);
        assert_eq!((headers["x-a"].as_bytes(), headers["x-b"].as_bytes()), (&b"1"[..], &b"3"[..]));
    }
}
