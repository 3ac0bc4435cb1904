//! Header modifiers: the Gateway API's generated types repeat them for every place they stand in.

use http::{HeaderName, HeaderValue};
use nodeway_core::model::HeaderModifier;

use super::Faults;

/// Fields that frame a message or belong to one hop: a route may not set them.
const FORBIDDEN: [&str; 5] =
    ["connection", "content-length", "keep-alive", "te", "transfer-encoding"];

/// Takes a modifier of any generated type apart.
macro_rules! modifier {
    ($modifier:expr, $field:expr, $faults:expr) => {{
        let modifier = $modifier;
        let set = modifier.set.iter().flatten().map(|f| (f.name.clone(), f.value.clone()));
        let add = modifier.add.iter().flatten().map(|f| (f.name.clone(), f.value.clone()));
        let (set, add): (Vec<_>, Vec<_>) = (set.collect(), add.collect());
        let remove = modifier.remove.clone().unwrap_or_default();
        $crate::translate::header_modifier::build(&set, &add, &remove, $field, $faults)
    }};
}
pub(super) use modifier;

/// A modifier of names and values that HTTP allows; the others are faults.
pub(super) fn build(
    set: &[(String, String)],
    add: &[(String, String)],
    remove: &[String],
    field: &str,
    faults: &mut Faults,
) -> HeaderModifier {
    HeaderModifier {
        set: pairs(set, &format!("{field}.set"), faults),
        add: pairs(add, &format!("{field}.add"), faults),
        remove: remove
            .iter()
            .enumerate()
            .filter_map(|(i, name)| header_name(name, &format!("{field}.remove[{i}]"), faults))
            .collect(),
    }
}

fn pairs(
    fields: &[(String, String)],
    field: &str,
    faults: &mut Faults,
) -> Vec<(HeaderName, HeaderValue)> {
    let pair = |(i, (name, value)): (usize, &(String, String))| {
        let name = header_name(name, &format!("{field}[{i}].name"), faults);
        let parsed = HeaderValue::from_str(value);
        let value = faults.check(format!("{field}[{i}].value"), value, parsed);
        name.zip(value)
    };
    fields.iter().enumerate().filter_map(pair).collect()
}

fn header_name(name: &str, field: &str, faults: &mut Faults) -> Option<HeaderName> {
    let parsed = faults.check(field, name, name.parse::<HeaderName>())?;
    if FORBIDDEN.contains(&parsed.as_str()) {
        faults.add(field, format!("{name:?}: a route may not change this field"));
        return None;
    }
    Some(parsed)
}
