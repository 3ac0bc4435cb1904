//! Manifests: whatever is written, it is translated and compiled, or refused with words; and a Service that stands
//! beside it is served.
#![no_main]

use std::path::PathBuf;

use libfuzzer_sys::fuzz_target;
use nodeway::source::{FileText, Folder};
use nodeway_core::model::ObjectName;
use nodeway_core::snapshot::{CompileOptions, Compiler, Enroll, Store};

const GOOD: &str = "\
apiVersion: v1
kind: Service
metadata: {name: a-good-one, namespace: beside}
spec: {clusterIP: 10.96.255.254, ports: [{port: 80}]}
";

fuzz_target!(|text: &str| {
    let file =
        |name: &str, text: &str| FileText { path: PathBuf::from(name), text: Ok(text.to_owned()) };
    let mut folder = Folder::default();
    let (changes, problems) = folder.update(vec![file("a.yaml", text), file("b.yaml", GOOD)]);
    for problem in problems {
        assert!(!problem.to_string().is_empty());
    }
    let mut store = Store::default();
    for change in changes {
        store.apply(change);
    }
    let options = CompileOptions { enroll: Enroll::All, node_name: None };
    let Some(compiled) = Compiler::new(options).compile(&mut store) else { return };
    let good = ObjectName::new("beside", "a-good-one");
    let taken = text.contains("a-good-one") || text.contains("10.96.255.254");
    assert!(taken || compiled.snapshot.service_port(&good, 80).is_some());
});
