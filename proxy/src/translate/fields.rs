//! The fields of an object of ours, each asked for by its name and kept in its bounds.
//!
//! For our own kinds, whose whole schema we know: what nobody asks for is a slip of the pen, and told.
//! Not for others' kinds: those have fields that are not for us.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use serde_json::{Map, Value};

use super::Faults;
use super::duration::duration;

/// An object's fields. What is wrong with one is a fault at its path, and it counts as not given.
pub(super) struct Fields<'a> {
    /// From the object's root, such as `spec.healthCheck`.
    path: String,
    fields: Option<&'a Map<String, Value>>,
    /// What was asked for.
    known: Vec<&'static str>,
    faults: &'a mut Faults,
}

// === impl Fields ===

impl<'a> Fields<'a> {
    /// Reads the object `value`, which is at `path`: all its fields must be known when `read` is done.
    pub(super) fn of<T>(
        path: impl Into<String>,
        value: &Value,
        faults: &mut Faults,
        read: impl FnOnce(&mut Fields<'_>) -> T,
    ) -> T {
        let path = path.into();
        let object = value.as_object();
        if object.is_none() {
            faults.add(&*path, format!("{}: must be an object", brief(value)));
        }
        let mut fields = Fields { path, fields: object, known: Vec::new(), faults };
        let read = read(&mut fields);
        fields.finish();
        read
    }

    /// Tells of what nobody has asked for.
    fn finish(self) {
        for name in self.fields.into_iter().flat_map(Map::keys) {
            if !self.known.contains(&name.as_str()) {
                let known = self.known.join(", ");
                let message = format!("unknown; there are {known}");
                self.faults.add(format!("{}.{name}", self.path), message);
            }
        }
    }

    /// The field, if it is given; `null` is none.
    pub(super) fn raw(&mut self, name: &'static str) -> Option<&'a Value> {
        self.known.push(name);
        self.fields?.get(name).filter(|value| !value.is_null())
    }

    /// Whether it is given.
    pub(super) fn has(&self, name: &str) -> bool {
        self.fields.and_then(|fields| fields.get(name)).is_some_and(|value| !value.is_null())
    }

    /// How many of these are given.
    pub(super) fn count(&self, names: &[&str]) -> usize {
        names.iter().filter(|name| self.has(name)).count()
    }

    /// Says that something is wrong with the field `name`, or with the object itself if that is empty.
    pub(super) fn fault(&mut self, name: &str, message: impl Into<String>) {
        let path = match name {
            "" => self.path.clone(),
            name => format!("{}.{name}", self.path),
        };
        self.faults.add(path, message);
    }

    /// Says that the field `name` has a value that it must not have.
    fn wrong(&mut self, name: &str, value: &Value, must: impl fmt::Display) {
        self.fault(name, format!("{}: {must}", brief(value)));
    }

    /// An integer.
    pub(super) fn integer<T: TryFrom<u64> + Copy + Into<u64>>(
        &mut self,
        name: &'static str,
        bounds: RangeInclusive<T>,
    ) -> Option<T> {
        let value = self.raw(name)?;
        let (least, most) = ((*bounds.start()).into(), (*bounds.end()).into());
        let number = value.as_u64().filter(|number| (least..=most).contains(number));
        let number = number.and_then(|number| T::try_from(number).ok());
        if number.is_none() {
            self.wrong(name, value, format_args!("must be an integer from {least} to {most}"));
        }
        number
    }

    /// A number with a fraction, in thousandths; the bounds are too.
    pub(super) fn thousandths(
        &mut self,
        name: &'static str,
        bounds: RangeInclusive<u32>,
    ) -> Option<u32> {
        let value = self.raw(name)?;
        let (least, most) = (f64::from(*bounds.start()), f64::from(*bounds.end()));
        let number = value.as_f64().map(|number| (number * 1000.0).round());
        let Some(number) = number.filter(|number| (least..=most).contains(number)) else {
            let (least, most) = (least / 1000.0, most / 1000.0);
            self.wrong(name, value, format_args!("must be a number from {least} to {most}"));
            return None;
        };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "whole, and within bounds that are u32"
        )]
        let number = number as u32;
        Some(number)
    }

    /// A duration.
    pub(super) fn duration(
        &mut self,
        name: &'static str,
        bounds: RangeInclusive<Duration>,
    ) -> Option<Duration> {
        let value = self.raw(name)?;
        let Some(text) = value.as_str() else {
            self.wrong(name, value, "must be a text such as \"10s\"");
            return None;
        };
        match duration(text) {
            Err(why) => self.wrong(name, value, why),
            Ok(time) if !bounds.contains(&time) => {
                let (least, most) = (bounds.start(), bounds.end());
                self.wrong(name, value, format_args!("must be from {least:?} to {most:?}"));
            }
            Ok(time) => return Some(time),
        }
        None
    }

    /// A text of at most so many octets.
    pub(super) fn text(&mut self, name: &'static str, most: usize) -> Option<&'a str> {
        let value = self.raw(name)?;
        let text = value.as_str().filter(|text| !text.is_empty() && text.len() <= most);
        if text.is_none() {
            self.wrong(name, value, format_args!("must be a text of 1 to {most} characters"));
        }
        text
    }

    /// A text that stands for something.
    pub(super) fn parsed<T, E: fmt::Display>(
        &mut self,
        name: &'static str,
        most: usize,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let text = self.text(name, most)?;
        parse(text).map_err(|error| self.fault(name, format!("{text:?}: {error}"))).ok()
    }

    /// One of these words.
    pub(super) fn choice<T: Clone>(
        &mut self,
        name: &'static str,
        words: &[(&str, T)],
    ) -> Option<T> {
        let value = self.raw(name)?;
        let known = words.iter().find(|(word, _)| value.as_str() == Some(word));
        if known.is_none() {
            let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            self.wrong(name, value, format_args!("must be one of {}", words.join(", ")));
        }
        known.map(|(_, meaning)| meaning.clone())
    }

    /// A truth value.
    pub(super) fn flag(&mut self, name: &'static str) -> Option<bool> {
        let value = self.raw(name)?;
        if !value.is_boolean() {
            self.wrong(name, value, "must be true or false");
        }
        value.as_bool()
    }

    /// An object with fields of its own.
    pub(super) fn object<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&mut Fields<'_>) -> T,
    ) -> Option<T> {
        let value = self.raw(name)?;
        Some(Fields::of(format!("{}.{name}", self.path), value, self.faults, read))
    }

    /// A list of at most so many.
    fn items(&mut self, name: &'static str, most: usize) -> &'a [Value] {
        let Some(value) = self.raw(name) else { return &[] };
        let items = value.as_array().filter(|items| items.len() <= most);
        if items.is_none() {
            let said = value.as_array().map(|items| format!("{} of them", items.len()));
            let said = said.unwrap_or_else(|| brief(value));
            self.fault(name, format!("{said}: must be a list of at most {most}"));
        }
        items.map_or(&[], Vec::as_slice)
    }

    /// A list of objects, at most so many. Those of which nothing can be made are left out: they have their
    /// faults.
    pub(super) fn objects<T>(
        &mut self,
        name: &'static str,
        most: usize,
        mut read: impl FnMut(&mut Fields<'_>) -> Option<T>,
    ) -> Vec<T> {
        let items = self.items(name, most).iter().enumerate();
        let item = |(i, item): (usize, &Value)| {
            Fields::of(format!("{}.{name}[{i}]", self.path), item, self.faults, &mut read)
        };
        items.filter_map(item).collect()
    }

    /// A list of plain values, at most so many, as text.
    pub(super) fn texts<T, E: fmt::Display>(
        &mut self,
        name: &'static str,
        most: usize,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Vec<T> {
        let mut parsed = Vec::new();
        for (i, item) in self.items(name, most).iter().enumerate() {
            // A number without quotes is one, in YAML.
            let text = item.as_str().map_or_else(|| item.to_string(), ToOwned::to_owned);
            match parse(&text) {
                Ok(value) => parsed.push(value),
                Err(error) => {
                    self.faults.add(
                        format!("{}.{name}[{i}]", self.path),
                        format!("{}: {error}", brief(item)),
                    );
                }
            }
        }
        parsed
    }

    /// Says that the field must be given, if it is not.
    pub(super) fn require(&mut self, name: &'static str) {
        if !self.has(name) {
            self.fault(name, "missing");
        }
    }
}

/// A value as it is told: no longer than a line.
fn brief(value: &Value) -> String {
    const MOST: usize = 80;
    let text = value.to_string();
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}
