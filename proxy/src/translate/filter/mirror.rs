//! RequestMirror: to whom copies go, and how many.

use gateway_api::experimental::httproutes::HttpRouteRulesFiltersRequestMirror;
use nodeway_core::model::Mirror;

use crate::translate::route::Reference;
use crate::translate::{Faults, Identity};

/// Gateway API, `Fraction.denominator`.
const DENOMINATOR: i32 = 100;

pub(super) fn mirror(
    identity: &Identity,
    spec: &HttpRouteRulesFiltersRequestMirror,
    field: &str,
    faults: &mut Faults,
) -> Option<Mirror> {
    let reference = Reference {
        group: spec.backend_ref.group.as_deref(),
        kind: spec.backend_ref.kind.as_deref(),
        namespace: spec.backend_ref.namespace.as_deref(),
        name: &spec.backend_ref.name,
        port: spec.backend_ref.port,
    };
    let share = match (spec.percent, &spec.fraction) {
        (None, None) => (1, 1),
        (Some(_), Some(_)) => {
            faults.add(field, "percent and fraction exclude each other");
            return None;
        }
        (Some(percent), None) => {
            let part = u32::try_from(percent).ok().filter(|percent| *percent <= 100);
            let part = part.ok_or("must be from 0 to 100");
            (faults.check(format!("{field}.percent"), percent, part)?, 100)
        }
        (None, Some(fraction)) => {
            let (part, whole) = (fraction.numerator, fraction.denominator.unwrap_or(DENOMINATOR));
            let field = format!("{field}.fraction");
            let positive = u32::try_from(whole).ok().filter(|whole| *whole > 0);
            let positive = positive.ok_or("must be at least 1");
            let denominator = faults.check(format!("{field}.denominator"), whole, positive)?;
            let within = u32::try_from(part).ok().filter(|part| *part <= denominator);
            let within = within.ok_or("must be from 0 to the denominator");
            (faults.check(format!("{field}.numerator"), part, within)?, denominator)
        }
    };
    Some(Mirror { target: reference.target(identity), share })
}
