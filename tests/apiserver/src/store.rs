//! The objects, their versions and their history.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};

use crate::kinds::Resource;

/// Namespace (empty for objects of the cluster) and name.
pub(crate) type Key = (String, String);

/// What managers of fields share: the resource, the object, its subresource.
type Managed = (String, Key, Option<String>);

/// An object, and its text, which is made once.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) value: Arc<Value>,
    pub(crate) bytes: Bytes,
    pub(crate) version: u64,
}

/// Something that has happened to an object.
#[derive(Debug, Clone)]
pub(crate) struct Happened {
    pub(crate) version: u64,
    /// The resource, qualified.
    pub(crate) resource: String,
    /// What it was before, if it was.
    pub(crate) before: Option<Arc<Value>>,
    /// What it is now; what it was last, with the version of its end, if it is gone.
    pub(crate) now: Stored,
    pub(crate) gone: bool,
}

/// Everything.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) resources: Vec<Resource>,
    objects: HashMap<String, BTreeMap<Key, Stored>>,
    version: u64,
    history: VecDeque<Arc<Happened>>,
    /// The last version that is no longer in the history.
    pub(crate) compacted: u64,
    most_history: usize,
    /// What each manager of fields has applied last, by resource, key and subresource.
    applied: HashMap<Managed, Vec<(String, Value)>>,
}

// === impl Store ===

impl Store {
    pub(crate) fn new(resources: Vec<Resource>, most_history: usize) -> Self {
        // Real servers' versions are nowhere near 0, which means something else.
        let version = 1000;
        Self {
            resources,
            objects: HashMap::new(),
            version,
            history: VecDeque::new(),
            compacted: version,
            most_history,
            applied: HashMap::new(),
        }
    }

    /// The version of the last change.
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// The resource that serves this kind of object.
    pub(crate) fn resource_of(&self, object: &Value) -> Option<Resource> {
        let (version, kind) = (object["apiVersion"].as_str()?, object["kind"].as_str()?);
        let mut all = self.resources.iter();
        all.find(|r| r.kind == kind && r.api_version() == version).cloned()
    }

    pub(crate) fn get(&self, resource: &str, key: &Key) -> Option<&Stored> {
        self.objects.get(resource)?.get(key)
    }

    /// In the order of their keys.
    pub(crate) fn all(&self, resource: &str) -> impl Iterator<Item = (&Key, &Stored)> {
        self.objects.get(resource).into_iter().flatten()
    }

    /// Puts `object` in place: new, or changed.
    pub(crate) fn put(&mut self, resource: &Resource, key: Key, mut object: Value) -> Stored {
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let now = stored(object, self.version);
        let objects = self.objects.entry(resource.qualified()).or_default();
        let before = objects.insert(key, now.clone()).map(|before| before.value);
        self.note(resource, before, now.clone(), false);
        now
    }

    /// Takes the object away; what it was last.
    pub(crate) fn remove(&mut self, resource: &Resource, key: &Key) -> Option<Stored> {
        let before = self.objects.get_mut(&resource.qualified())?.remove(key)?;
        self.version += 1;
        let mut last = Value::clone(&before.value);
        last["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let last = stored(last, self.version);
        self.note(resource, Some(before.value), last.clone(), true);
        self.applied.retain(|(of, whose, _), _| *of != resource.qualified() || whose != key);
        Some(last)
    }

    /// What each manager has applied last.
    pub(crate) fn managers(
        &self,
        resource: &Resource,
        key: &Key,
        subresource: Option<&str>,
    ) -> Vec<(String, Value)> {
        let whose = (resource.qualified(), key.clone(), subresource.map(str::to_owned));
        self.applied.get(&whose).cloned().unwrap_or_default()
    }

    /// Notes what `manager` has applied.
    pub(crate) fn manage(
        &mut self,
        resource: &Resource,
        key: &Key,
        subresource: Option<&str>,
        manager: String,
        applied: Value,
    ) {
        let whose = (resource.qualified(), key.clone(), subresource.map(str::to_owned));
        let managers = self.applied.entry(whose).or_default();
        managers.retain(|(name, _)| *name != manager);
        managers.push((manager, applied));
    }

    fn note(&mut self, resource: &Resource, before: Option<Arc<Value>>, now: Stored, gone: bool) {
        let (version, resource) = (self.version, resource.qualified());
        self.history.push_back(Arc::new(Happened { version, resource, before, now, gone }));
        if self.history.len() > self.most_history
            && let Some(oldest) = self.history.pop_front()
        {
            self.compacted = oldest.version;
        }
    }

    /// What has happened since `version`; none if that is no longer known.
    pub(crate) fn since(&self, version: u64) -> Option<impl Iterator<Item = &Arc<Happened>>> {
        if version < self.compacted {
            return None;
        }
        let first = self.history.partition_point(|happened| happened.version <= version);
        Some(self.history.range(first..))
    }

    /// Forgets the history.
    pub(crate) fn compact(&mut self) {
        self.history.clear();
        self.version += 1;
        self.compacted = self.version;
    }

    /// Serves `resource` no longer: its objects are gone.
    pub(crate) fn withdraw(&mut self, resource: &Resource) {
        let keys: Vec<Key> = self.all(&resource.qualified()).map(|(key, _)| key.clone()).collect();
        for key in keys {
            self.remove(resource, &key);
        }
        self.resources.retain(|known| known != resource);
    }
}

fn stored(object: Value, version: u64) -> Stored {
    let bytes = Bytes::from(object.to_string());
    Stored { value: Arc::new(object), bytes, version }
}
