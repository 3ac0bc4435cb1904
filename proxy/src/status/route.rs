//! Routes and policies as the API has them, as far as their status needs them: read from a watch of the leader's own.
//!
//! Not what they mean: that is in the snapshot.

use std::borrow::Cow;

use nodeway_core::model::ObjectName;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::parents::CONTROLLER;
use super::verdict::any_service;
use crate::source::kube::watch::Reader;

/// A route that is, or was, ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) name: ObjectName,
    /// The version of the API that it was read in.
    pub(super) api_version: Box<str>,
    pub(super) uid: Box<str>,
    pub(super) resource_version: Box<str>,
    pub(super) generation: i64,
    /// `spec.parentRefs` (a policy's `spec.targetRefs`), as JSON; empty if none is a Service.
    pub(super) references: Box<str>,
    /// `status.parents` (a policy's `status.ancestors`), as JSON.
    pub(super) parents: Box<str>,
}

/// What a watch tells.
#[derive(Debug)]
pub(super) enum Told {
    /// A listing begins.
    Listing,
    /// This route is there, as it is now.
    There(Box<Found>),
    /// There is no such route, or it is none of our business.
    Gone(ObjectName),
    /// The listing is complete.
    Listed,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct RouteReader {
    begins: bool,
    /// Whether any route was ever shown.
    any: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Object<'a> {
    #[serde(borrow, default)]
    api_version: Cow<'a, str>,
    #[serde(borrow)]
    metadata: Metadata<'a>,
    #[serde(borrow, default)]
    spec: Option<Spec<'a>>,
    #[serde(borrow, default)]
    status: Option<Status<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow, default)]
    namespace: Cow<'a, str>,
    #[serde(borrow, default)]
    uid: Cow<'a, str>,
    #[serde(borrow, default)]
    resource_version: Cow<'a, str>,
    #[serde(default)]
    generation: i64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec<'a> {
    #[serde(borrow, default, alias = "targetRefs")]
    parent_refs: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Status<'a> {
    #[serde(borrow, default, alias = "ancestors")]
    parents: Option<&'a RawValue>,
}

// === impl RouteReader ===

impl Reader for RouteReader {
    type Said = Vec<Told>;

    fn begin(&mut self) {
        self.begins = true;
    }

    fn apply<'a>(&mut self, text: &'a str, said: &mut Vec<Told>) -> Option<Cow<'a, str>> {
        self.begun(said);
        self.any = true;
        // Of one that cannot be read the source tells.
        let object: Object<'a> = serde_json::from_str(text).ok()?;
        let Metadata { name, namespace, uid, resource_version, generation } = object.metadata;
        let name = ObjectName::new(&*namespace, &*name);
        let references = object.spec.and_then(|spec| spec.parent_refs).map_or("", RawValue::get);
        let parents = object.status.and_then(|status| status.parents).map_or("", RawValue::get);
        let references = if any_service(references) { references } else { "" };
        if references.is_empty() && !parents.contains(CONTROLLER) {
            said.push(Told::Gone(name));
            return Some(resource_version);
        }
        let version = object.api_version.rsplit('/').next().unwrap_or_default();
        said.push(Told::There(Box::new(Found {
            name,
            api_version: version.into(),
            uid: (*uid).into(),
            resource_version: (*resource_version).into(),
            generation,
            references: references.into(),
            parents: parents.into(),
        })));
        Some(resource_version)
    }

    fn delete<'a>(&mut self, text: &'a str, said: &mut Vec<Told>) -> Option<Cow<'a, str>> {
        self.begun(said);
        let Object { metadata, .. } = serde_json::from_str::<Object<'a>>(text).ok()?;
        said.push(Told::Gone(ObjectName::new(&*metadata.namespace, &*metadata.name)));
        Some(metadata.resource_version)
    }

    fn end(&mut self, said: &mut Vec<Told>) {
        self.begun(said);
        said.push(Told::Listed);
    }

    fn is_empty(&self) -> bool {
        !self.any
    }

    fn is_nothing(said: &Vec<Told>) -> bool {
        said.is_empty()
    }
}

impl RouteReader {
    fn begun(&mut self, said: &mut Vec<Told>) {
        if std::mem::take(&mut self.begins) {
            said.push(Told::Listing);
        }
    }
}
